"""The chart of results by groups of eval examples."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from curate.core.lazy import lazy_module
from curate.core.numerals import signed
from curate.report.drawing import (
    ACCENT,
    CHARS,
    CONTROL,
    MUTED,
    PLOT,
    TICK_OVERHANG,
    Drawing,
    axis_labels,
    from_values,
    padded,
    row_axis,
    to_svg,
)
from curate.report.watch import GroupGains

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")

MOST = 25


def draw_groups(groups: Sequence[GroupGains]) -> Drawing | None:
    """Draw each group's gain over the average random set; None where no group has an estimate."""
    drawn = [(group, gain) for group in groups[:MOST] if (gain := group.random)]
    if not drawn:
        return None
    names = axis_labels([group.name for group, _ in drawn], CHARS)
    lines = [
        {"group": name, "mean": gain.difference, "low": gain.low, "high": gain.high}
        for name, (_, gain) in zip(names, drawn, strict=True)
    ]
    low, high = padded([0.0, *(v for _, g in drawn for v in (g.low, g.high))])
    title = f"better than random by, {drawn[0][0].unit}"
    scale = alt.Scale(domain=[low, high], nice=False)
    axis = alt.Axis(tickCount=5, labelExpr="datum.value == 0 ? '0' : format(datum.value, '+~g')")

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title, scale=scale, axis=axis)

    marks = from_values(lines).encode(row_axis("group", names))
    layers = [
        from_values([{"at": 0}]).mark_rule(color=MUTED).encode(x("at")),
        marks.mark_rule(color=CONTROL, strokeWidth=2.5).encode(x("low"), alt.X2("high")),
        marks.mark_point(filled=True, size=70, color=ACCENT, opacity=1).encode(x("mean")),
    ]
    described = "; ".join(f"{group.name} {signed(gain.difference)}" for group, gain in drawn)
    svg = to_svg(alt.layer(*layers), row=30, plot=PLOT - TICK_OVERHANG)
    return Drawing(svg, f"{title}: {described}.")
