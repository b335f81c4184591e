"""Near prompts with different answers: rows that a stage kept although their texts are similar.

Their system turns, numbers or responses differ (curate.clean.guards), so neither goes for the other.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import polars as pl

from curate.report.differences import Side, show_sides
from curate.report.examples import Rows
from curate.runs.differing import differing_pairs
from curate.runs.folder import RunFolder

MOST_PAIRS = 4
CHARS = 350


@dataclass(frozen=True)
class ContrastingPair:
    """Two kept rows with similar texts, and what of them differs."""

    similarity: float
    differs: str
    row: Side
    other: Side


@dataclass(frozen=True)
class ContrastingPairs:
    """Near duplicates that were kept: their rows, and the number of pairs by what differs."""

    rows: int
    pairs: dict[str, int]
    examples: tuple[ContrastingPair, ...]


def example_pairs(run: RunFolder, stage: str) -> pl.DataFrame | None:
    """Return the pairs that the page shows: of each thing that differs the most similar ones."""
    pairs = differing_pairs(run, stage)
    if pairs is None:
        return None
    return pairs.group_by("differs", maintain_order=True).head(MOST_PAIRS).collect()


def gather_differing(
    run: RunFolder, stage: str, examples: pl.DataFrame | None, rows: Rows
) -> ContrastingPairs | None:
    """Return None if no kept rows of the stage are such a pair.

    Args:
        run: the run.
        stage: a stage's name.
        examples: of `example_pairs`.
        rows: texts of the rows in them.
    """
    pairs = differing_pairs(run, stage)
    if pairs is None or examples is None or not examples.height:
        return None
    counts = pairs.group_by("differs").len().sort("len", "differs", descending=[True, False])
    ids = pl.concat([pairs.select("row_id"), pairs.select(row_id="other_id")])
    return ContrastingPairs(
        rows=ids.select(pl.col("row_id").n_unique()).collect().item(),
        pairs=dict(counts.collect().iter_rows()),
        examples=tuple(_pairs(examples, rows)),
    )


def _pairs(examples: pl.DataFrame, rows: Rows) -> Iterable[ContrastingPair]:
    columns = "similarity", "differs", "row_id", "other_id"
    for similarity, differs, row_id, other_id in examples.select(columns).iter_rows():
        row, other = show_sides(row_id, other_id, rows, CHARS)
        yield ContrastingPair(similarity, differs, row, other)
