"""For those who write methods: a run without a recipe, and the checks that every method passes.

    run = FakeRun.of(tmp_path, pool=[("2 + 2?", "4"), ("3 + 3?", "6")], target=[("1 + 1?", "2")])
    check_selector(MySelector(budget=Budget(rows=1)), run)
    check_stage(MyStage(), run)

A run has a store in its folder, so that what a method asks for is stored as in a run of a recipe.
"""

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
from curate.core.ledger import judge_rows, kept_rows
from curate.core.rows import SCHEMA, Message, content_hash, text_hash
from curate.core.selector import Selector
from curate.core.stage import Stage
from curate.core.store import Counts, Store
from curate.llm.engines import identify_engine
from curate.models.load import choose_dtype, find_model, identify, identify_embedder, prepare
from curate.models.settings import ModelNames
from curate.models.tokens import count_tokens
from curate.selectors.scored import why_unscored

Pair = tuple[str, str]
SCORES = ("row_id", "score", "nearest_id")


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
        "content_hash": content_hash(messages),
        "text_hash": text_hash(messages),
        "source": "testing",
        "meta": "{}",
        "parents": [],
    }


def check_selector(selector: Selector, run: FakeRun) -> pl.DataFrame:
    """Check that a selector scores each kept row once and orders rows by what they are, not where.

    Returns:
        The table of scores.

    Raises:
        AssertionError: it does not; what it does instead.
    """
    scores = selector.score_rows(run).read()
    lacking = [name for name in SCORES if name not in scores.columns]
    assert not lacking, f"{selector.method}: the scores have no column {', '.join(lacking)}"
    kept = run.kept.read()["row_id"]
    assert scores["row_id"].sort().equals(kept.sort()), (
        f"{selector.method}: the scores are not a line for each kept row, but {scores.height} lines "
        f"for {kept.len()} rows"
    )
    scored = scores.filter(why_unscored(scores, selector).is_null())
    order = _order(selector, scored, run.seed)
    assert sorted(order) == sorted(scored["row_id"]), (
        f"{selector.method}: rank does not name each row of its table once"
    )
    assert _order(selector, scored.reverse(), run.seed) == order, (
        f"{selector.method}: the order of rows depends on where they stand in the table"
    )
    if selector.scores_alone:
        some = run.kept.read().head(max(run.kept.height // 2, 1))
        more = selector.score_more(run, _stored_kept(run, some)).read()
        rest = scored.filter(~pl.col("row_id").is_in(more["row_id"].implode()))
        both = pl.concat([more.filter(why_unscored(more, selector).is_null()), rest])
        assert _order(selector, both, run.seed) == order, (
            f"{selector.method}: scores_alone, but rows that are scored later come in another order"
        )
    return scores


def _order(selector: Selector, scores: pl.DataFrame, seed: int) -> list[str]:
    return [str(row_id) for row_id in scores["row_id"].gather(selector.rank(scores, seed))]


def _stored_kept(run: FakeRun, kept: pl.DataFrame) -> Table:
    lines = kept.select("row_id", "position").to_dicts()
    return Table(run(write_kept, lines), "kept")


@cached_files(version=1, name="testing-kept")
def write_kept(out: Path, lines: list[dict[str, Any]]) -> Counts:
    """Write kept.parquet."""
    pl.DataFrame(lines).write_parquet(out / "kept.parquet")
    return {"rows_in": len(lines), "rows_out": len(lines)}


def check_stage(stage: Stage, run: FakeRun) -> pl.DataFrame:
    """Check that a stage gives every row one verdict, each drop with a known reason.

    Returns:
        The verdicts.

    Raises:
        AssertionError: it does not; what it does instead.
    """
    unknown = set(stage.rethresholdable) - set(type(stage).model_fields)
    assert not unknown, f"{stage.method}: rethresholdable names no parameters of it: {unknown}"
    examples = {name: run.target for name in (*stage.uses, *stage.needs) if run.target is not None}
    verdicts, _ = judge_rows(run, stage.method, stage, run.rows, {}, examples)
    return verdicts.read()
