"""A chart of how many rows each threshold drops, as coordinates that a template draws."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

WIDTH, HEIGHT = 520, 220
LEFT, RIGHT, TOP, BOTTOM = 80, 20, 14, 34
TICKS = 5


@dataclass(frozen=True)
class ChartTick:
    """A tick of an axis: where it is, and its label."""

    place: float
    label: str


@dataclass(frozen=True)
class SweepChart:
    """A line through thresholds and drops, and marks at the run's threshold and the chosen one."""

    line: str
    across: tuple[ChartTick, ...]
    up: tuple[ChartTick, ...]
    run_mark: float | None
    mark: float | None
    table: tuple[tuple[float, int], ...]
    width: int = WIDTH
    height: int = HEIGHT
    left: int = LEFT
    right: int = WIDTH - RIGHT
    top: int = TOP
    bottom: int = HEIGHT - BOTTOM


def draw_sweep(
    sweep: pl.DataFrame, run_threshold: float | None, threshold: float | None
) -> SweepChart | None:
    """Return the chart of a sweep (threshold, dropped), None where there is nothing to draw.

    Args:
        sweep: as `curate.runs.rethreshold.sweep` returns it.
        run_threshold: the run's own.
        threshold: the one that is looked at.
    """
    if sweep.height < 2:
        return None
    low, high = _range(sweep["threshold"].to_list())
    most = max(int(sweep["dropped"].max() or 0), 1)  # type: ignore[arg-type]

    def x(value: float) -> float:
        return round(LEFT + (value - low) / (high - low) * (WIDTH - LEFT - RIGHT), 1)

    def y(rows: float) -> float:
        return round(HEIGHT - BOTTOM - rows / most * (HEIGHT - TOP - BOTTOM), 1)

    def mark(value: float | None) -> float | None:
        return None if value is None or not low <= value <= high else x(value)

    return SweepChart(
        " ".join(f"{x(t)},{y(n)}" for t, n in sweep.iter_rows()),
        tuple(ChartTick(x(v), f"{v:.3g}") for v in _spread(low, high)),
        tuple(ChartTick(y(v), f"{v:,.0f}") for v in sorted({round(v) for v in _spread(0, most)})),
        mark(run_threshold),
        mark(threshold),
        tuple(sweep.iter_rows()),
    )


def _range(values: Sequence[float]) -> tuple[float, float]:
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _spread(low: float, high: float) -> list[float]:
    return [low + i * (high - low) / (TICKS - 1) for i in range(TICKS)]
