"""How the rows of an export stand in its files: split, order, phases, sample weights, size of shards.

export: {validation: 0.05, order: random, phases: {by: tokens, parts: 3}, sample_weight: true}

    split        phase  sample_weight   row
    train        1      0.7             short rows first, in random order
    train        2      1.4             ...
    validation   1      0.9
"""

from typing import Any, Literal, TypedDict, cast

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.errors import UserError
from curate.core.params import Params
from curate.pool.datafiles import SHARD_BYTES
from curate.pool.splits import TRAIN, split_rows

NUMBERS = ("rank", "score", "tokens")


class Phases(Params):
    """Phases of a curriculum: rows stand phase by phase, numbered from 1 in the column `phase`."""

    by: Literal["rank", "score", "tokens", "source", "origin", "method"] = Field(
        description="what tells phases apart: a figure of the selection, or a column of the rows",
        examples=["tokens"],
    )
    parts: int | None = Field(
        None,
        ge=2,
        description="rank, score, tokens: as many phases of equal size, lowest first",
        examples=[3],
    )
    reverse: bool = Field(
        False, description="highest first; with rank, the best rows then come last"
    )
    values: list[str] = Field(
        [],
        description="source, origin, method: a phase for each of these, in this order; the last phase "
        "has the rows of all others",
        examples=[["web", "textbooks"]],
    )

    @model_validator(mode="after")
    def _check(self) -> "Phases":
        if self.by in NUMBERS and (self.parts is None or self.values):
            raise ValueError(f"phases by {self.by} need `parts`, and no `values`")
        if self.by not in NUMBERS and (self.parts is not None or not self.values or self.reverse):
            raise ValueError(f"phases by {self.by} need `values` alone")
        return self


class ArrangementValues(TypedDict):
    """An arrangement as the key of a cached call has it."""

    validation: float
    shard_bytes: int
    order: Literal["rank", "random"]
    phases: Any
    sample_weight: bool


class ExportSettings(Params):
    """Training files to write."""

    formats: list[str] = ["messages", "prompt_completion"]
    validation: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="share of the rows in a second split, `validation`; near copies stay on one side",
        examples=[0.05],
    )
    shard_bytes: int = Field(
        SHARD_BYTES,
        gt=0,
        description="size of a Parquet file, in bytes of its rows as JSON; more rows go into further "
        "files",
    )
    order: Literal["rank", "random"] = Field(
        "rank", description="of the rows: best first, or shuffled by the seed"
    )
    phases: Phases | None = Field(
        None,
        description="for a curriculum: rows phase by phase, in `order` within each",
        examples=[{"by": "tokens", "parts": 3}],
    )
    sample_weight: bool = Field(
        False, description="a column with each row's score, divided by the mean score"
    )

    @property
    def arrangement(self) -> ArrangementValues:
        """Return all but the formats."""
        return cast(ArrangementValues, self.model_dump(mode="json", exclude={"formats"}))


def arrange(
    rows: pl.DataFrame, ranking: pl.DataFrame, values: ArrangementValues, seed: int
) -> pl.DataFrame:
    """Return rows in the order of their files, with `split`, and `phase` and `sample_weight` if set.

    Args:
        rows: the selection, best first.
        ranking: row_id, rank, score and tokens of these rows at least.
        values: the arrangement.
        seed: of the run.

    Raises:
        UserError: rows lack what phases or weights are made of, or cannot be split.
    """
    figures = rows.select("row_id").join(
        ranking.select("row_id", *NUMBERS), on="row_id", how="left", maintain_order="left"
    )
    rng = np.random.default_rng([seed, 0xE4907])
    order = rng.permutation(rows.height) if values["order"] == "random" else np.arange(rows.height)
    rows = rows.with_columns(split=split_rows(rows, values["validation"], seed))
    if values["phases"]:
        phases = Phases.model_validate(values["phases"])
        rows = rows.with_columns(phase=pl.Series(_phase_numbers(rows, figures, phases)))
        order = order[np.argsort(rows["phase"].to_numpy()[order], kind="stable")]
    if values["sample_weight"]:
        rows = rows.with_columns(sample_weight=_sample_weights(figures["score"]))
    return pl.concat(
        part for _, part in sorted(rows[order].partition_by("split", as_dict=True).items())
    )


def split_sizes(rows: pl.DataFrame) -> dict[str, int]:
    """Return how many rows each split of arranged rows has."""
    return {split: part.height for split, part in split_parts(rows)}


def split_parts(rows: pl.DataFrame) -> list[tuple[str, pl.DataFrame]]:
    """Return the splits of rows; those that were never arranged are all of `train`."""
    if "split" not in rows.columns:
        return [(TRAIN, rows)]
    return [(str(name), part) for (name,), part in rows.partition_by(
        "split", as_dict=True, maintain_order=True
    ).items()]  # fmt: skip


def _phase_numbers(rows: pl.DataFrame, figures: pl.DataFrame, phases: Phases) -> NDArray[np.int64]:
    """Return the phase of each row, from 1."""
    if phases.by not in NUMBERS:
        places = {value: number for number, value in enumerate(phases.values, 1)}
        others = len(places) + 1
        return np.array([places.get(value, others) for value in rows[phases.by]], dtype=np.int64)
    column = figures[phases.by]
    if column.null_count():
        raise UserError(
            f"export.phases.by: {column.null_count():,} of {len(column):,} rows have no {phases.by}: "
            "this selection did not need it; choose another column"
        )
    values = column.to_numpy()
    order = np.argsort(-values if phases.reverse else values, kind="stable")
    numbers = np.empty(len(values), dtype=np.int64)
    numbers[order] = np.arange(len(values)) * (phases.parts or 1) // max(len(values), 1) + 1
    return numbers


def _sample_weights(scores: pl.Series) -> pl.Series:
    """Return scores divided by their mean."""
    if scores.null_count():
        raise UserError(
            f"export.sample_weight: {scores.null_count():,} of {len(scores):,} rows have no score; "
            "leave it out, or select by a method that scores rows"
        )
    lowest, total = float(scores.min() or 0), float(scores.sum())  # type: ignore[arg-type]
    if lowest < 0 or total <= 0:
        raise UserError(
            f"export.sample_weight: the lowest score is {lowest:.4g}, and weights cannot be negative or "
            "all zero; leave it out"
        )
    return scores * (len(scores) / total)
