"""Histograms of scores, dropped rows in the colour of alarm, with the threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.core.histogram_bins import HistogramBin
from curate.core.lazy import lazy_module
from curate.report.drawing import ACCENT, ALARM, INK, WIDTH, Drawing, from_values, to_svg

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")


def stack_bars(bins: Sequence[HistogramBin], x: alt.X, y: alt.Y) -> alt.Chart:
    """Return a bar for each bin: what went below, what stayed above it."""
    values = [
        {"low": b.low, "high": b.high, "from": start, "to": start + count, "colour": colour}
        for b in bins
        for count, start, colour in ((b.dropped, 0, ALARM), (b.kept, b.dropped, ACCENT))
        if count
    ]
    bars = from_values(values).mark_bar(binSpacing=1)
    return bars.encode(x, y, alt.X2("high"), alt.Y2("to"), color=alt.Color("colour:N", scale=None))


def draw_histogram(
    bins: Sequence[HistogramBin], title: str, words: str, threshold: float | None = None
) -> Drawing:
    """Draw bins, and a line at the threshold; `words` say it to those who do not see it."""
    scale = alt.Scale(domain=[bins[0].low, bins[-1].high], nice=False)
    x = alt.X("low:Q", scale=scale, axis=alt.Axis(title=title, tickCount=5))
    axis = alt.Axis(tickCount=3, tickMinStep=1, format="~s", minExtent=50, maxExtent=50)
    parts = [stack_bars(bins, x, alt.Y("from:Q", title="rows", axis=axis))]
    if threshold is not None:
        cut = from_values([{"low": threshold}]).mark_rule(color=INK, strokeDash=[3, 3])
        parts.append(cut.encode(x))
    chart = alt.layer(*parts).properties(width=WIDTH - 80, height=150)
    return Drawing(to_svg(chart, plot=WIDTH - 80), words)
