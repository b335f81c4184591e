"""Triplets: a question, a passage that answers it and a near one that does not, for embedders."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import ClassVar, Literal

import orjson
import polars as pl
import pyarrow as pa

from curate.core.methods import method
from curate.pool.exporter import RecordExporter, arranged_fields, arranged_values
from curate.pool.turnforms import Record, Row

COLUMNS = ("anchor", "positive", "negative")


@method
class TripletsExporter(RecordExporter):
    """Question, cited passage and near uncited passage, from rows of retrieval.

    triplets/train-DIGEST.jsonl and Parquet beside it, with the columns `anchor`, `positive` and
    `negative` that sentence-transformers' losses take. A row gives each cited passage with each uncited
    one: train with `batch_sampler="no_duplicates"`, so that a question's other positive is no negative.

    A row's passages are `passages` in its record, each with `text` and `cited`, and its question is
    `question`: so `search_instruct` writes them with `context: true`. Negatives are near by BM25 and
    embeddings, uncited, and lack the answer's numbers or words; no model has read them as such.
    """

    version: ClassVar[int] = 1

    method: Literal["triplets"] = "triplets"

    def unfit(self, row: Row) -> str | None:
        """Return which part of a triplet the row has not."""
        question, passages = _retrieval(row)
        if not question or not passages:
            return "their record has no question with passages (search_instruct with context: true)"
        if not _texts(passages, cited=True):
            return "none of their passages is cited"
        return None if _texts(passages, cited=False) else "all of their passages are cited"

    def records(self, row: Row) -> list[Record]:
        """Return each cited passage with each uncited one."""
        question, passages = _retrieval(row)
        pairs = product(_texts(passages, cited=True), _texts(passages, cited=False))
        return [
            dict(zip(COLUMNS, (question, *pair), strict=True)) | arranged_values(row)
            for pair in pairs
        ]

    def arrow_schema(self, rows: pl.DataFrame) -> pa.Schema:
        """Return three columns of text."""
        return pa.schema([*((name, pa.string()) for name in COLUMNS), *arranged_fields(rows)])

    def losses(self, row: Row) -> Iterator[str]:
        """Yield nothing: responses have no place in it."""
        yield from ()


@dataclass(frozen=True)
class _Passage:
    text: str
    cited: bool


def _retrieval(row: Row) -> tuple[str, list[_Passage]]:
    """Return the question and the passages of a row's record; an empty list where they have no form."""
    record = orjson.loads(row["meta"] or b"{}")
    question, passages = record.get("question"), record.get("passages")
    whole = isinstance(passages, list) and all(
        isinstance(p, dict) and isinstance(p.get("text"), str) and isinstance(p.get("cited"), bool)
        for p in passages
    )
    read = [_Passage(p["text"], p["cited"]) for p in passages] if whole else []
    return question if isinstance(question, str) else "", read


def _texts(passages: Sequence[_Passage], *, cited: bool) -> list[str]:
    return [passage.text for passage in passages if passage.cited is cited]
