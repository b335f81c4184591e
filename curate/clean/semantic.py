"""Semantic duplicates: rows whose embeddings are nearly those of a row that is kept.

SemDeDup (Abbas et al. 2023, arXiv:2303.09540, section 3) looks for twins inside the cells of k-means and
drops a row for any twin, also a dropped one. Here no twin across cells is missed (see
curate.models.neighbours) up to `exact_rows`, and a row is dropped only for a kept one, as at all levels.

What counts as the same meaning is up to the embedder. The static one sees words without their order:
at 0.9, the same passage under two questions is one row to it. Embedders of any kind hardly see numbers:
of the 64 pairs of GSM8K problems that are twins to the static one at 0.9, 63 have other numbers, and so
other answers. So only rows with equal numbers in the same order are compared, unless `numbers` is off;
what else tells similar rows apart says curate.clean.guards.
"""

import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.clean.duplicates import RETHRESHOLDABLE, judge_duplicates, read_pairs
from curate.clean.duplicates_section import ComparedTexts, compared_by, duplicates_section
from curate.clean.guards import (
    Guard,
    GuardedDedupParams,
    differing_table,
    guard_keys,
    split_pairs,
)
from curate.core.calls import Table, cached_files
from curate.core.fixedpoint import cosines_of_pairs
from curate.core.keyed import EmbedderSource
from curate.core.methods import method
from curate.core.numerals import number, percent
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Quote, Section, note
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.wants import ONE_GPU
from curate.core.workload import Workload
from curate.models.embed import embed_survivors, embed_texts
from curate.models.neighbours.allpairs import EXACT_ROWS, SAMPLED_ROWS, find_pairs
from curate.models.neighbours.paircollector import Neighbours
from curate.models.neighbours.stacked import AnyVectors, StackedVectors
from curate.models.passes import index_rows
from curate.text.compared import Compared, compared_text
from curate.text.pairs import Pairs, pair_table

LOG = logging.getLogger("curate")
VERSION = 7
MODEL = "lm"
RECALL, SEARCH = "recall", "search"
MODEL_LENGTH = 2_048
VECTORS_AT_A_TIME = 65_536
# Of two rows of P3, the median cosine in SmolLM2-135M is 0.76; from 0.98 on, MiniLM agrees.
MODEL_THRESHOLDS = {"threshold": 0.98, "floor": 0.95}


@method
class SemanticStage(GuardedDedupParams, Stage):
    """Drop rows that mean much the same as a kept row (cosine of their embeddings)."""

    title: ClassVar[str] = "Duplicates in meaning"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 3
    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE

    method: Literal["semantic"] = "semantic"
    # As in semhash, for sentence embedders.
    threshold: float = Field(0.9, gt=0, le=1, description="0.98 if the embedder is lm")
    floor: float = Field(
        0.8,
        gt=0,
        le=1,
        description="pairs are stored from here on, so a threshold can go down to it; 0.95 if the "
        "embedder is lm",
    )
    embedder: str | None = Field(
        None,
        description="static, minilm, a folder, a hub id, or lm: the base model's representation, as "
        "in rds; models.embedder if not given",
        examples=["minilm"],
    )
    exact_rows: int = Field(
        EXACT_ROWS,
        gt=0,
        description="rows up to which all pairs are compared; of more, each row is compared with the "
        "nearest cells of rows, and the report tells the share of pairs that this finds",
    )

    @model_validator(mode="before")
    @classmethod
    def _fill_thresholds(cls, value: Any) -> Any:
        if isinstance(value, Mapping) and value.get("embedder") == MODEL:
            return {**MODEL_THRESHOLDS, **value}
        return value

    @model_validator(mode="after")
    def _check_embedder(self) -> "SemanticStage":
        if self.embedder == MODEL and self.compare != "example":
            raise ValueError("embedder lm represents whole rows: it needs `compare: example`")
        return self

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return all pairs with at least the floor's cosine.

        `pairs` are those of duplicates, `differing` those that the guards tell apart.
        """
        # The base model represents whole rows alone: beside it the run's own embedder reads responses.
        name = None if self.embedder == MODEL else self.embedder
        guards = self.guards_of(data.rows.scan())
        model = run.embedder(name) if {"responses", "rejected"} & {*guards} else None
        blocks = _vectors(run, data, self)
        limit = self.exact_rows if data.rows.height > self.exact_rows else None
        pairs = run(write_pairs, data, blocks, self.compare, self.floor, guards, model, limit)
        _warn_of_misses(pairs.counts)
        tables = ("pairs", "differing", *([SEARCH] if RECALL in pairs.counts else []))
        return {name: Table(pairs, name) for name in tables}

    def section(self, record: StageRecord) -> Section:
        """Return what was merged, the border, and what other thresholds would drop."""
        section = duplicates_section(record, self.compared_texts(record.embedder))
        if not record.has(SEARCH):
            return section
        recall = record.table(SEARCH).collect()[RECALL].item()
        words = (
            f"More than {number(self.exact_rows)} rows could be pairs, so each was compared with the "
            f"nearest cells of rows: on a sample that found {percent(recall)} of all pairs. A higher "
            "exact_rows finds all."
        )
        return replace(section, blocks=(*section.blocks[:2], note(words), *section.blocks[2:]))

    def compared_texts(self, default: str) -> ComparedTexts:
        """Return how rows are compared, in words; `default` is the run's embedder."""
        name = self.embedder or default
        embedder = "base model" if name == MODEL else Quote(name)
        texts = compared_by(self, (embedder, " embeddings"))
        return replace(texts, other_numbers=not self.numbers)

    def decide(self, data: StageData) -> StageResult:
        """Drop rows for a kept twin; score is the cosine to it, or to the nearest kept row."""
        pairs = read_pairs(data.prepared["pairs"])
        return judge_duplicates(data, pairs, self, Reason.SEMANTIC_DUPLICATE)

    def cost(self, rows: int) -> Workload:
        """Return the embedding of all rows, by the base model or an embedder."""
        if self.embedder == MODEL:
            return Workload(read_rows=rows, max_length=MODEL_LENGTH)
        return Workload(embedded_rows=rows, compare=self.compare, embedder=self.embedder)


def _vectors(run: StepRun, data: StageInputs, params: SemanticStage) -> list[Table]:
    """Return the vectors of the rows, block by block."""
    if params.embedder != MODEL:
        return embed_survivors(run, data, params.compare, params.embedder)
    return index_rows(run, data.rows, data.positions(), MODEL_LENGTH)


def _warn_of_misses(counts: Counts) -> None:
    """Say on every run that not all pairs were looked for."""
    if RECALL in counts:
        LOG.warning(
            "semantic: of so many rows only those of near cells are compared: of the pairs of %s rows, "
            "%.1f %% are found; raise `exact_rows` to find all",
            SAMPLED_ROWS,
            100 * counts[RECALL],
        )


@cached_files(
    version=VERSION,
    name="semantic-pairs",
    title="Find pairs of duplicates in meaning",
    wants=ONE_GPU,
)
def write_pairs(
    out: Path,
    data: StageInputs,
    blocks: Sequence[Table],
    compare: Compared,
    floor: float,
    guards: Sequence[Guard],
    model: EmbedderSource | None = None,
    exact_rows: int | None = None,
) -> Counts:
    """Write every pair from the floor on; copies are paired with the first of them.

    Copies are rows that no guard tells apart, with equal texts or with vectors equal in every bit.
    pairs.parquet has the pairs of duplicates, differing.parquet those that the guards tell apart, for
    which the model embeds their responses and rejected answers. search.parquet tells the recall of a
    search among more than exact_rows, which looks in near cells alone; None where all rows are fewer.
    """
    text = compared_text(compare).fill_null("").hash()
    rows = data.survivors().select("row_id", text=text, **guard_keys(compare, guards)).collect()
    vectors = StackedVectors([block.array() for block in blocks])
    if not all(np.isfinite(block).all() for block in vectors.blocks):
        raise FloatingPointError("an embedding is not finite; try models.dtype: float32")
    pairs, near = _find_pairs(rows, vectors, guards, floor, exact_rows or len(rows))
    cosines = partial(_text_cosines, data.survivors(), model)
    alike, differing = split_pairs(pairs, rows, guards, floor, cosines)
    pair_table(rows["row_id"], alike).write_parquet(out / "pairs.parquet")
    differing_table(rows["row_id"], differing).write_parquet(out / "differing.parquet")
    recall = {} if near.recall is None else {RECALL: near.recall}
    if recall:
        pl.DataFrame(recall).write_parquet(out / f"{SEARCH}.parquet")
    return {
        "rows_in": len(rows),
        "pairs": len(alike.first),
        "differing": differing.height,
        "twins_allowed": near.most,
        "rows_with_more": near.capped,
        **recall,
    }


def _find_pairs(
    rows: pl.DataFrame,
    vectors: AnyVectors,
    guards: Sequence[Guard],
    floor: float,
    exact_rows: int,
) -> tuple[Pairs, Neighbours]:
    """Return the pairs of copies and of similar rows, and the latter as they were found."""
    # A column beside them, since there may be no guards.
    guard = rows.with_columns(none=0).select("none", *guards).hash_rows()
    first = first_copies(rows["text"], guard, vectors)
    copies = np.flatnonzero(first != np.arange(len(first)))
    near = find_pairs(vectors, _groups(rows, copies), floor, exact_rows=exact_rows)
    if near.capped:
        LOG.warning(
            "semantic: %d rows are similar to more than %d others; only the nearest are compared, so "
            "some twins may stay",
            near.capped,
            near.most,
        )
    pairs = Pairs(
        np.concatenate([first[copies], near.first]),
        np.concatenate([copies, near.second]),
        np.concatenate([np.ones(len(copies)), near.cosine]),
        np.arange(len(copies) + len(near.first)) < len(copies),
    )
    return pairs, near


def _groups(rows: pl.DataFrame, copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return which rows are compared with each other: those with the same numbers, copies with none."""
    numbers = rows["numbers"] if "numbers" in rows.columns else pl.zeros(rows.height, eager=True)
    groups = numbers.rank("dense").cast(pl.Int64).to_numpy().copy()
    groups[copies] = -1
    return groups


def _text_cosines(
    rows: pl.LazyFrame,
    model: EmbedderSource | None,
    text: pl.Expr,
    first: NDArray[np.int64],
    second: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the cosines of a text of the rows of pairs; only those rows' texts are embedded."""
    if model is None:
        raise ValueError("to compare answers, pairs need an embedder")
    involved = np.unique(np.concatenate([first, second]))
    texts = (
        rows.select(text=text).with_row_index("at").filter(pl.col("at").is_in(involved.tolist()))
    )
    vectors = embed_texts(texts.collect()["text"].to_list(), model.name)
    left, right = np.searchsorted(involved, first), np.searchsorted(involved, second)
    return np.round(cosines_of_pairs(vectors, left, vectors, right), 6)


def first_copies(texts: pl.Series, guards: pl.Series, vectors: AnyVectors) -> NDArray[np.int64]:
    """Return for each row [N] the number of the first row that is the same, often its own.

    A vector of zeros says nothing, so such rows are the same only if their texts are.

    Args:
        texts: hashes of the compared texts.
        guards: hashes of what else must be equal.
        vectors: unit or zero vectors [N, d].
    """
    # An embedder may round equal texts differently, so the vector of the first one counts.
    first = _first_of(texts.to_frame())
    digests: list[bytes] = []
    silent = np.empty(len(first), dtype=np.bool_)
    for at in range(0, len(first), VECTORS_AT_A_TIME):
        part = slice(at, at + VECTORS_AT_A_TIME)
        some = vectors[first[part]]
        digests += [hashlib.blake2b(vector, digest_size=16).digest() for vector in some]
        silent[part] = ~some.any(axis=1)
    keys = pl.DataFrame(
        {"vector": pl.Series(digests, dtype=pl.Binary), "guards": guards, "silent": silent}
    )
    return _first_of(keys.with_columns(text=pl.when("silent").then(texts)))


def _first_of(keys: pl.DataFrame) -> NDArray[np.int64]:
    """Return for each row the number of the first row with the same keys."""
    numbered = keys.with_columns(_row=pl.int_range(pl.len(), dtype=pl.Int64))
    return numbered.select(pl.col("_row").min().over(keys.columns)).to_series().to_numpy()
