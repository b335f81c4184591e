"""The distribution of scores, and how many selected rows are nearest to each target example."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.report.texts import RowText, show_row
from curate.runs.folder import RunFolder

BINS = 32
MOST_TARGETS = 200


@dataclass(frozen=True)
class ScoreBin:
    """A range of scores, and how many rows lie in it."""

    low: float
    high: float
    selected: int
    not_selected: int


@dataclass(frozen=True)
class ScoreHistogram:
    """The distribution of the scores. `cut` is the lowest score that was selected."""

    bins: tuple[ScoreBin, ...]
    cut: float
    selected: int
    not_selected: int
    passed_over: int
    takes_turns: bool


@dataclass(frozen=True)
class TargetAttraction:
    """A target example: the selected rows nearest to it, and its best similarity to any of them."""

    row_id: str
    rows: int
    best: float | None
    best_in_pool: float | None
    text: RowText | None


@dataclass(frozen=True)
class Attraction:
    """All target examples, those with the fewest rows first; `examples` holds the first of `count`."""

    examples: tuple[TargetAttraction, ...]
    count: int
    uncovered: int


def gather_scores(run: RunFolder, select: Mapping[str, Any]) -> ScoreHistogram | None:
    """Return None for methods that score nothing."""
    finite = pl.col("score").cast(pl.Float64).is_finite()
    ranking = run.table("evidence/select").filter(finite)
    chosen = pl.col("selected")
    low, high, cut, selected, count = (
        ranking.select(
            low=pl.col("score").min().cast(pl.Float64),
            high=pl.col("score").max().cast(pl.Float64),
            cut=pl.col("score").filter(chosen).min().cast(pl.Float64),
            selected=chosen.sum(),
            count=pl.len(),
        )
        .collect()
        .row(0)
    )
    if cut is None:
        return None
    above = ranking.filter(~chosen & (pl.col("score").cast(pl.Float64) > cut)).select(pl.len())
    return ScoreHistogram(
        bins=_bins(ranking, low, high),
        cut=cut,
        selected=selected,
        not_selected=count - selected,
        passed_over=int(above.collect().item()),
        takes_turns=select.get("combine") == "round_robin",
    )


def _bins(ranking: pl.LazyFrame, low: float, high: float) -> tuple[ScoreBin, ...]:
    step = _round_step((high - low) / BINS) if high > low else max(abs(low), 1.0) / BINS
    first = math.floor(low / step)
    number = (pl.col("score").cast(pl.Float64) / step).floor().cast(pl.Int64) - first
    counted = ranking.group_by(bin=number, chosen="selected").len().sort("bin", "chosen").collect()
    counts = {(at, chosen): n for at, chosen, n in counted.iter_rows()}
    return tuple(
        ScoreBin(
            (first + i) * step,
            (first + i + 1) * step,
            counts.get((i, True), 0),
            counts.get((i, False), 0),
        )
        for i in range(max(at for at, _ in counts) + 1)
    )


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= step)


def gather_attraction(run: RunFolder) -> Attraction | None:
    """Return None for methods that name no nearest target example."""
    ranking = run.table("evidence/select").filter(pl.col("nearest_id").is_not_null())
    nearest = ranking.group_by("nearest_id").agg(
        rows=pl.col("selected").sum(),
        best=pl.col("score").filter("selected").max(),
        pool=pl.col("score").max(),
    )
    by_id = {i: (n, (best, pool)) for i, n, best, pool in nearest.collect().iter_rows()}
    if not by_id:
        return None
    table = run.rows("target")
    target = None if table is None else table.select("row_id", "messages").collect()
    texts = dict(target.iter_rows()) if target is not None else {}
    similar = dict(_similarities(run, list(texts)))
    examples = []
    for row_id in texts or by_id:
        rows, best_scores = by_id.get(row_id, (0, (None, None)))
        best, in_pool = similar.get(row_id, best_scores)
        text = show_row(texts[row_id]) if row_id in texts else None
        examples.append(TargetAttraction(row_id, rows, best, in_pool, text))
    examples.sort(key=lambda e: (e.rows, -math.inf if e.best is None else e.best, e.row_id))
    uncovered = sum(not example.rows for example in examples)
    return Attraction(tuple(examples[:MOST_TARGETS]), len(examples), uncovered)


def _similarities(
    run: RunFolder, target_ids: Sequence[str]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield for every target example its best similarity to a selected row and to any kept row."""
    scores = run.table("evidence/scores")
    if not target_ids or "similarities" not in scores.collect_schema():
        return
    chosen = run.table("evidence/select").filter("selected").select("row_id")
    selected = scores.join(chosen, on="row_id", how="semi")
    inside, everywhere = (
        _column_maxima(table.select("similarities"), len(target_ids))
        for table in (selected, scores)
    )
    yield from zip(target_ids, zip(inside, everywhere, strict=True), strict=True)


def _column_maxima(table: pl.LazyFrame, width: int) -> list[float]:
    column = pl.col("similarities")
    maxima = [column.arr.get(i).max().alias(str(i)) for i in range(width)]
    return [float(value) for value in table.select(maxima).collect().row(0)]
