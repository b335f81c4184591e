"""Charts of sections, drawn as `curate.report.drawing` has it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch
from typing import TYPE_CHECKING

from curate.core.chart import (
    Chart,
    CountBars,
    CurveChart,
    Dumbbells,
    Histogram,
    Histograms,
    ReliabilityChart,
    SplitHistogram,
    Strips,
)
from curate.core.lazy import lazy_module
from curate.core.numerals import number
from curate.report.drawing import (
    ACCENT,
    CHARS,
    CONTROL,
    GUTTER,
    INK,
    LINE,
    MUTED,
    NARROW_PLOT,
    PLOT,
    TICK_OVERHANG,
    WIDE_CHARS,
    WIDE_GUTTER,
    WIDTH,
    Drawing,
    axis_labels,
    from_values,
    padded,
    remark,
    row_axis,
    to_svg,
)
from curate.report.histogram import draw_histogram, stack_bars

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")

PANELS = 2
PANEL_WIDTH = 172


@singledispatch
def draw_chart(chart: Chart) -> Drawing:
    """Return a chart as SVG, with what it shows in words."""
    raise TypeError(f"no chart is drawn of a {type(chart).__name__}")


@draw_chart.register
def _(chart: Histogram) -> Drawing:
    return draw_histogram(chart.bins, chart.title, chart.words, chart.threshold)


@draw_chart.register
def _(chart: Histograms) -> Drawing:
    """Draw a small histogram of each value, two in a line."""
    panels = []
    for title, bins in chart.panels:
        scale = alt.Scale(domain=[bins[0].low, bins[-1].high], nice=False)
        x = alt.X("low:Q", scale=scale, axis=alt.Axis(title=None, tickCount=3))
        bars = stack_bars(bins, x, alt.Y("from:Q", axis=None))
        panel = alt.layer(bars, remark(title, 0, -4, "left"))
        panels.append(panel.properties(width=PANEL_WIDTH, height=56))
    lines = [
        alt.hconcat(*panels[at : at + PANELS], spacing=34) for at in range(0, len(panels), PANELS)
    ]
    return Drawing(to_svg(alt.vconcat(*lines, spacing=22)), chart.words)


@draw_chart.register
def _(chart: CurveChart) -> Drawing:
    values = [{"at": at, "value": value} for at, value in chart.points]
    (low, _), (high, _) = chart.points[0], chart.points[-1]
    ticks = alt.Axis(tickCount=5, format="~g", labelFlush=False)
    scale = alt.Scale(domain=[low, high], nice=False)
    x = alt.X("at:Q", title=chart.x_title, scale=scale, axis=ticks)
    most = max(*(value for _, value in chart.points), chart.own[1], 1)
    axis = alt.Axis(tickCount=min(4, int(most)), format="~s", minExtent=50, maxExtent=50, grid=True)
    top = alt.Scale(domain=[0, most * 1.08], nice=False)
    y = alt.Y("value:Q", title=chart.y_title, scale=top, axis=axis)
    own = from_values([{"at": chart.own[0], "value": chart.own[1]}])
    place = (chart.own[0] - low) / (high - low) if high > low else 0.0
    label = own.mark_text(
        text=chart.own_label, baseline="bottom", color=ACCENT, fontWeight="bold",
        align="left" if place < 0.2 else "right" if place > 0.8 else "center",
    )  # fmt: skip
    layers = [
        from_values(values).mark_line(color=CONTROL, strokeWidth=2).encode(x, y),
        own.mark_rule(color=ACCENT, strokeDash=[3, 3]).encode(x),
        own.mark_point(filled=True, size=80, color=ACCENT, opacity=1).encode(x, y),
        label.encode(x, alt.YValue(-5)),
    ]
    sized = alt.layer(*layers).properties(width=WIDTH - 80 - TICK_OVERHANG, height=150)
    return Drawing(to_svg(sized), chart.words)


@draw_chart.register
def _(chart: ReliabilityChart) -> Drawing:
    """Draw the share that is right over the confidence, beside the diagonal."""
    scale = alt.Scale(domain=[0, 1], nice=False)
    ticks = alt.Axis(tickCount=5, format="~%")
    x = alt.X("at:Q", title="confidence", scale=scale, axis=ticks)
    y = alt.Y(
        "right:Q", title="right", scale=scale,
        axis=alt.Axis(tickCount=5, format="~%", minExtent=50, maxExtent=50),
    )  # fmt: skip
    diagonal = from_values([{"at": 0, "right": 0}, {"at": 1, "right": 1}])
    base = from_values([{"at": at, "right": right} for at, right in chart.points])
    layers = [
        diagonal.mark_line(color=LINE, strokeDash=[3, 3]).encode(x, y),
        base.mark_line(color=CONTROL, strokeWidth=1.5).encode(x, y),
        base.mark_point(filled=True, size=55, color=ACCENT, opacity=1).encode(x, y),
        remark("as often right as told", WIDTH - 80, -4, "right", colour=MUTED),
    ]
    sized = alt.layer(*layers).properties(width=WIDTH - 80, height=220)
    return Drawing(to_svg(sized), chart.words)


@draw_chart.register
def _(chart: Strips) -> Drawing:
    """Draw a line of dots for each strip, and its mean as a tick."""
    names = [strip.name for strip in chart.strips]
    values = [at for strip in chart.strips for at in strip.values]
    dots = [{"name": s.name, "at": at} for s in chart.strips for at in s.values]
    means = [{"name": s.name, "at": s.mean} for s in chart.strips if s.mean is not None]
    fixed = [*([] if chart.limit is None else [chart.limit]), *([0.0] if chart.zero else [])]
    x = _value_axis(chart.title, [*values, *fixed])
    layers = [
        *_rules(chart.limit, x("at")),
        *([from_values([{"at": 0}]).mark_rule(color=LINE).encode(x("at"))] if chart.zero else []),
        from_values(dots).mark_point(filled=True, size=36, color=CONTROL, opacity=0.55).encode(
            x("at"), row_axis("name", names)
        ),
        from_values(means).mark_tick(color=ACCENT, thickness=3, height=16, opacity=1).encode(
            x("at"), alt.Y("name:N", sort=names)
        ),
    ]  # fmt: skip
    return Drawing(to_svg(alt.layer(*layers), row=28, plot=PLOT - TICK_OVERHANG), chart.words)


@draw_chart.register
def _(chart: Dumbbells) -> Drawing:
    labels = axis_labels([pair.name for pair in chart.pairs], WIDE_CHARS)
    wide = max(map(len, labels)) > CHARS
    gutter, plot = (WIDE_GUTTER, NARROW_PLOT) if wide else (GUTTER, PLOT - TICK_OVERHANG)
    values = [
        {"name": label, "all": pair.all_rows, "selected": pair.selected}
        for label, pair in zip(labels, chart.pairs, strict=True)
    ]
    ends = [end for pair in chart.pairs for end in (pair.all_rows, pair.selected)]
    limit = [] if chart.limit is None else [chart.limit]
    x = _share_axis(max(ends)) if chart.shares else _value_axis(chart.title, [*ends, *limit])
    base = from_values(values).encode(row_axis("name", labels, gutter))
    layers = [
        *_rules(chart.limit, x("at")),
        base.mark_rule(color=LINE, strokeWidth=3).encode(x("all"), alt.X2("selected")),
        base.mark_point(filled=True, size=55, color=CONTROL, opacity=1).encode(x("all")),
        base.mark_point(filled=True, size=55, color=ACCENT, opacity=1).encode(x("selected")),
    ]
    return Drawing(to_svg(alt.layer(*layers), row=24, plot=plot), chart.words)


@draw_chart.register
def _(chart: SplitHistogram) -> Drawing:
    """Draw the selected rows above the others, and a line at the cut through both."""
    scale = alt.Scale(domain=[chart.bins[0][0], chart.bins[-1][1]], nice=False)
    selected, others = (
        [{"low": bar[0], "high": bar[1], "rows": bar[at]} for bar in chart.bins] for at in (2, 3)
    )
    panels = [
        _panel(selected, scale, None, chart.cut, "selected", ACCENT, ACCENT, 80),
        _panel(others, scale, chart.title, chart.cut, "not selected", CONTROL, MUTED, 110),
    ]
    return Drawing(to_svg(alt.vconcat(*panels, spacing=26)), chart.words)


def _panel(
    bars: list[dict[str, float]],
    scale: alt.Scale,
    title: str | None,
    cut: float,
    what: str,
    colour: str,
    text_colour: str,
    height: int,
) -> alt.LayerChart:
    x = alt.X("low:Q", scale=scale, axis=alt.Axis(title=title, tickCount=6) if title else None)
    axis = alt.Axis(tickCount=3, tickMinStep=1, format="~s", minExtent=50, maxExtent=50)
    drawn = from_values(bars).mark_bar(color=colour, binSpacing=1)
    drawn = drawn.encode(
        x, alt.X2("high"), alt.Y("rows:Q", title="rows", axis=axis), alt.Y2(datum=0)
    )
    rule = from_values([{"low": cut}]).mark_rule(color=INK, strokeDash=[3, 3]).encode(x)
    label = f"{number(sum(bar['rows'] for bar in bars))} {what}"
    panel = alt.layer(drawn, rule, remark(label, 0, -8, "left", colour=text_colour))
    return panel.properties(width=WIDTH - 80, height=height)


@draw_chart.register
def _(chart: CountBars) -> Drawing:
    labels = axis_labels([name for name, _, _ in chart.lines], CHARS)
    values = [
        {"name": label, "count": count, "label": number(count), "word": word}
        for label, (_, count, word) in zip(labels, chart.lines, strict=True)
    ]
    largest = max(1, *(count for _, count, _ in chart.lines))
    scale = alt.Scale(domain=[0, largest], range=[0, PLOT - 90], nice=False)
    x = alt.X("count:Q", axis=None, scale=scale)
    base = from_values(values).encode(row_axis("name", labels))
    layers = [
        base.mark_bar(height=11, color=ACCENT).encode(x),
        base.mark_text(align="left", dx=5, color=INK).encode(x, alt.Text("label:N")),
        base.mark_text(align="right", color=MUTED).encode(alt.Text("word:N"), alt.XValue(PLOT)),
        remark(chart.count_title, 0, -10, "left"),
        remark(chart.word_title, PLOT, -10, "right"),
    ]
    return Drawing(to_svg(alt.layer(*layers), row=19), chart.words)


def _rules(limit: float | None, x: alt.X) -> list[alt.Chart]:
    if limit is None:
        return []
    return [from_values([{"at": limit}]).mark_rule(color=INK, strokeDash=[3, 3]).encode(x)]


def _value_axis(title: str, values: Sequence[float]) -> Callable[[str], alt.X]:
    low, high = padded(values)
    scale = alt.Scale(domain=[low, high], nice=False)
    axis = alt.Axis(tickCount=5, format="~g", labelOverlap=True)
    return lambda field: alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)


def _share_axis(largest: float) -> Callable[[str], alt.X]:
    scale = alt.Scale(domain=[0, largest * 1.04], nice=False)
    axis = alt.Axis(format="~%", tickCount=5, orient="top")
    return lambda field: alt.X(f"{field}:Q", title=None, scale=scale, axis=axis)
