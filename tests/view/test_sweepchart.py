"""The chart of a sweep: places that grow with thresholds and drops."""

from __future__ import annotations

import polars as pl
import pytest

from curate.view.sweepchart import HEIGHT, WIDTH, draw_sweep

SWEEP = pl.DataFrame({"threshold": [0.5, 0.75, 1.0], "dropped": [40, 10, 0]})


def test_a_point_lies_in_proportion_to_its_figures() -> None:
    chart = draw_sweep(SWEEP, 0.5, 1.0)
    assert chart is not None
    (x0, y0), (x1, y1), (x2, y2) = (map(float, p.split(",")) for p in chart.line.split())
    assert (x1 - x0) / (x2 - x0) == pytest.approx(0.5, abs=0.01)
    assert (y2 - y1) / (y2 - y0) == pytest.approx(0.25, abs=0.01)
    assert (chart.run_mark, chart.mark) == (x0, x2)
    assert 0 <= x0 < x2 <= WIDTH
    assert 0 <= y0 < y2 <= HEIGHT
    assert [tick.label for tick in chart.up] == ["0", "10", "20", "30", "40"]


@pytest.mark.parametrize("threshold", [None, 0.2, 1.3])
def test_a_threshold_beyond_the_chart_has_no_mark(threshold: float | None) -> None:
    chart = draw_sweep(SWEEP, threshold, threshold)
    assert chart is not None
    assert (chart.run_mark, chart.mark) == (None, None)


def test_a_sweep_without_drops_or_points_is_drawn_or_left_out() -> None:
    assert draw_sweep(SWEEP.with_columns(dropped=0), None, None) is not None
    assert draw_sweep(SWEEP.head(1), None, None) is None
    assert draw_sweep(SWEEP.with_columns(threshold=0.5), None, 0.5) is not None
