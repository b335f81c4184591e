"""A run without a recipe, whose rows are pairs of a prompt and its response."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.calls import StoreRunner, Table, cached_files
from curate.core.keyed import EmbedderSource, EngineSource, ModelSource
from curate.core.ledger import kept_rows
from curate.core.rows import SCHEMA, Message, content_hash, text_hash
from curate.core.store import Counts, Store
from curate.generate.generation import Generation, Generator
from curate.generate.shots import token_encoder
from curate.generate.step import Surroundings, method_source
from curate.llm.ask import EngineClient
from curate.llm.engines import identify_engine
from curate.llm.engines.engine import Engine
from curate.llm.limits import Limits
from curate.models.load import choose_dtype, find_model, identify, identify_embedder, prepare
from curate.models.settings import ModelNames
from curate.models.tokens import count_tokens

Pair = tuple[str, str]


class FakeRun(StoreRunner):
    """A run over rows p0, p1, ... and target examples t0, t1, ...; every row is kept.

    `models` are those of a recipe: the base that counts tokens and scores, and the embedder.
    """

    def __init__(
        self, store: Store, rows: Table, target: Table | None, models: ModelNames, seed: int = 0
    ) -> None:
        super().__init__(store)
        self.rows, self.target, self.models, self.seed = rows, target, models, seed
        self.kept = kept_rows(self, rows, [])
        self.evidence: Mapping[str, Table] = {}

    @classmethod
    def of(
        cls,
        folder: Path,
        pool: Sequence[Pair],
        target: Sequence[Pair] = (),
        *,
        models: ModelNames | None = None,
        seed: int = 0,
    ) -> FakeRun:
        """Return a run over pairs of a prompt and its response, with a store in a folder."""
        runner = StoreRunner(Store(folder / "store"))
        rows = Table(runner(write_rows, [list(pair) for pair in pool], "p"), "rows")
        examples = [list(pair) for pair in target]
        targets = Table(runner(write_rows, examples, "t"), "rows") if examples else None
        return cls(runner.store, rows, targets, models or ModelNames(embedder="static"), seed)

    @property
    def tokens(self) -> Table:
        """Return the lengths of the kept rows in tokens of the base model."""
        return count_tokens(self, self.rows, self.kept)

    def with_kept(self, kept: Table) -> FakeRun:
        """Return the same run with other kept rows."""
        other = copy.copy(self)
        other.kept = kept
        return other

    @property
    def base(self) -> ModelSource:
        """Return the base model."""
        location = find_model(self.models.base)
        return ModelSource(identify(location, choose_dtype(self.models.dtype)), prepare(location))

    def embedder(self, name: str | None = None) -> EmbedderSource:
        """Return a sentence embedder, the run's own if None."""
        location = find_model(name or self.models.embedder)
        return EmbedderSource(identify_embedder(location), location.name)

    def engine(self, params: Any) -> EngineSource:
        """Return an engine."""
        return EngineSource(
            identify_engine(params, self.models),
            params.model_dump(mode="json"),
            self.models.model_dump(mode="json"),
            self.store.root / "completions.sqlite",
        )

    def generation(
        self, generator: Generator, engine: Engine, limits: Limits | None = None
    ) -> Generation:
        """Return the run of a generator on an engine, as a recipe starts it, before it makes rows."""
        source = method_source(generator.model_dump(mode="json"), None)
        encoder = token_encoder(self) if generator.reads_tokens else None
        tokenizer = self.base if generator.counts_tokens else None
        surroundings = Surroundings(
            self.rows,
            self.target,
            self.embedder(),
            self.seed,
            None,
            encoder=encoder,
            tokenizer=tokenizer,
        )
        return surroundings.start(source, generator, EngineClient(engine, limits=limits))


@cached_files(version=1, name="testing-rows")
def write_rows(out: Path, pairs: list[list[str]], prefix: str) -> Counts:
    """Write rows.parquet: a row for each prompt and response."""
    rows = [_row(f"{prefix}{number}", *pair) for number, pair in enumerate(pairs)]
    pq.write_table(pa.Table.from_pylist(rows, schema=SCHEMA), out / "rows.parquet")
    return {"rows_in": len(rows), "rows_out": len(rows), "rejected": {}}


def _row(row_id: str, prompt: str, response: str) -> dict[str, Any]:
    messages: list[Message] = [
        {"role": "user", "content": prompt},
        {"role": "assistant", "content": response},
    ]
    return {
        "row_id": row_id,
        "messages": messages,
        "tools": None,
        "rejected": None,
        "content_hash": content_hash(messages),
        "text_hash": text_hash(messages),
        "source": "testing",
        "meta": "{}",
        "parents": [],
    }


@cached_files(version=1, name="testing-kept")
def write_kept(out: Path, lines: list[dict[str, Any]]) -> Counts:
    """Write kept.parquet."""
    pl.DataFrame(lines).write_parquet(out / "kept.parquet")
    return {"rows_in": len(lines), "rows_out": len(lines)}
