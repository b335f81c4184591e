"""The charts of confidence by cheap signals, drawn as `curate.report.drawing` has it."""

from collections.abc import Sequence

import altair as alt

from curate.core.numerals import number, percent, significant
from curate.report.confidence import CalibrationView, Confidence, SignalHistogram
from curate.report.drawing import (
    ACCENT,
    CONTROL,
    LINE,
    MUTED,
    WIDTH,
    Drawing,
    from_values,
    remark,
    to_svg,
)
from curate.report.histogram import draw_histogram, stack_bars
from curate.report.wording import setting

PANELS = 2
PANEL_WIDTH = 172


def draw_stage(confidence: Confidence) -> dict[str, Drawing | None]:
    """Return the charts of one stage by name."""
    return {
        "scores": _draw_scores(confidence) if confidence.bins else None,
        "signals": _draw_signals([spread for spread in confidence.signals if spread.bins]),
        "reliability": _draw_reliability(confidence.labelled) if confidence.labelled else None,
    }


def _draw_scores(confidence: Confidence) -> Drawing:
    title = "probability of being right" if confidence.labelled else "mean rank of the signals"
    words = f"Histogram of the confidence in {number(confidence.rows - confidence.unscored)} rows."
    if confidence.threshold is not None:
        words += f" {number(confidence.dropped)} lie below {significant(confidence.threshold)}."
    return draw_histogram(confidence.bins, title, words, confidence.threshold)


def _draw_signals(spreads: Sequence[SignalHistogram]) -> Drawing | None:
    """Draw a small histogram of each signal, two in a line."""
    if not spreads:
        return None
    panels = []
    for spread in spreads:
        scale = alt.Scale(domain=[spread.bins[0].low, spread.bins[-1].high], nice=False)
        x = alt.X("low:Q", scale=scale, axis=alt.Axis(title=None, tickCount=3))
        y = alt.Y("from:Q", axis=None)
        title = remark(setting(spread.name), 0, -4, "left")
        panel = alt.layer(stack_bars(spread.bins, x, y), title)
        panels.append(panel.properties(width=PANEL_WIDTH, height=56))
    lines = [
        alt.hconcat(*panels[at : at + PANELS], spacing=34) for at in range(0, len(panels), PANELS)
    ]
    ranges = "; ".join(
        f"{setting(s.name)} from {significant(s.bins[0].low)} to {significant(s.bins[-1].high)}"
        for s in spreads
    )
    svg = to_svg(alt.vconcat(*lines, spacing=22))
    return Drawing(svg, f"Histograms of the signals: {ranges}.")


def _draw_reliability(labelled: CalibrationView) -> Drawing | None:
    """Draw the share of right rows over the mean confidence of bins, beside the diagonal."""
    if not labelled.bins:
        return None
    values = [{"at": b.confidence, "right": b.right} for b in labelled.bins]
    scale = alt.Scale(domain=[0, 1], nice=False)
    ticks = alt.Axis(tickCount=5, format="~%")
    x = alt.X("at:Q", title="confidence", scale=scale, axis=ticks)
    y = alt.Y(
        "right:Q", title="right", scale=scale,
        axis=alt.Axis(tickCount=5, format="~%", minExtent=50, maxExtent=50),
    )  # fmt: skip
    diagonal = [{"at": 0, "right": 0}, {"at": 1, "right": 1}]
    base = from_values(values)
    layers = [
        from_values(diagonal).mark_line(color=LINE, strokeDash=[3, 3]).encode(x, y),
        base.mark_line(color=CONTROL, strokeWidth=1.5).encode(x, y),
        base.mark_point(filled=True, size=55, color=ACCENT, opacity=1).encode(x, y),
        remark("as often right as told", WIDTH - 80, -4, "right", colour=MUTED),
    ]
    shares = "; ".join(
        f"{percent(b.right)} right at {percent(b.confidence)}" for b in labelled.bins
    )
    svg = to_svg(alt.layer(*layers).properties(width=WIDTH - 80, height=220))
    return Drawing(svg, f"Reliability: {shares}.")
