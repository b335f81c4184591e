"""Histograms of scores: equal bins, with what stayed and what went."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

BINS = 20


@dataclass(frozen=True)
class HistogramBin:
    """A histogram bin from `low` to `high`: how many of its rows were kept and how many dropped."""

    low: float
    high: float
    kept: int
    dropped: int


def equal_bins(
    table: pl.DataFrame, name: str, ends: tuple[float, float] | None = None
) -> Iterator[HistogramBin]:
    """Yield bins from end to end, which the last one holds; the values' own ends if none are given.

    Args:
        table: the column and keep; rows without a value are left out.
        name: of the column.
        ends: the lowest and the highest value that there could be.
    """
    rows = table.drop_nulls(name)
    if not rows.height:
        return
    values = rows[name].to_numpy()
    low, high = ends or (float(values.min()), float(values.max()))
    step = (high - low) / BINS or 1.0
    place = ((pl.col(name) - low) / step).floor().clip(0, BINS - 1).cast(pl.Int64)
    counts = rows.group_by(place.alias("place"), "keep").len()
    counts_by_bin = {(at, keep): count for at, keep, count in counts.rows()}
    for at in range(BINS):
        kept, dropped = (counts_by_bin.get((at, keep), 0) for keep in (True, False))
        yield HistogramBin(low + at * step, low + (at + 1) * step, kept, dropped)
