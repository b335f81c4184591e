"""The chart of a curve: a small panel for each ability, rows on a logarithmic axis."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.core.escape import shorten
from curate.core.lazy import lazy_module
from curate.core.numerals import measure
from curate.proof.metrics import METRICS
from curate.report.curve import Ability, AbilityCurves
from curate.report.drawing import (
    ACCENT,
    CONTROL,
    INK,
    MUTED,
    WIDTH,
    Drawing,
    from_values,
    padded,
    to_svg,
)

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")

# The whole and the abilities with most examples; all of them are in the table.
PANELS, COLUMNS = 12, 2
PANEL_WIDTH, PANEL_HEIGHT, TITLE_CHARS = 150, 90, 24


def draw_ability_curves(curve: AbilityCurves) -> Drawing:
    """Draw what selection and control reach at each size, a panel for each ability."""
    total, *abilities = curve.abilities
    abilities = sorted(abilities, key=lambda ability: -ability.examples)[: PANELS - 1]
    # One ability alone is the whole.
    curves = [total] if len(abilities) == 1 else [total, *abilities]
    # One alone is as large as a chart of its own.
    size = (WIDTH - 60, 150) if len(curves) == 1 else (PANEL_WIDTH, PANEL_HEIGHT)
    panels = [_panel(ability, curve.sizes, size) for ability in curves]
    chart = alt.concat(*panels, columns=COLUMNS, spacing=18)
    ends = [f"{a.name} {a.growth}" for a in curves]
    label = METRICS[curve.metric].label
    words = (
        f"Curves of the {label} with {curve.sizes[0]} to {curve.sizes[-1]} rows: "
        f"{measure(total.points[0].selected)} to {measure(total.points[-1].selected)} for "
        f"{total.name}. {'; '.join(ends)}."
    )
    return Drawing(to_svg(chart), words)


def _panel(ability: Ability, sizes: list[int], size: tuple[int, int]) -> Any:
    values = [
        {
            "rows": point.rows,
            "selected": point.selected,
            "control": point.control,
            "low": point.draws[0],
            "high": point.draws[1],
        }
        for point in ability.points
    ]
    ends = [v for value in values for key, v in value.items() if key != "rows"]
    low, high = padded([*ends, ability.base])
    x = alt.X(
        "rows:Q",
        scale=alt.Scale(type="log", domain=[sizes[0] * 0.8, sizes[-1] * 1.25], nice=False),
        axis=alt.Axis(values=sizes, title="rows", format="d", grid=False),
    )

    def y(field: str) -> alt.Y:
        scale = alt.Scale(domain=[low, high], nice=False, zero=False)
        axis = alt.Axis(title=None, tickCount=4, format="~g", minExtent=38, maxExtent=38)
        return alt.Y(f"{field}:Q", scale=scale, axis=axis)

    base = from_values([{"base": ability.base}]).mark_rule(color=MUTED, strokeDash=[3, 3])
    points = from_values(values)
    layers = [
        points.mark_area(color=CONTROL, opacity=0.25).encode(x, y("low"), alt.Y2("high")),
        points.mark_line(color=CONTROL, strokeWidth=1.5).encode(x, y("control")),
        base.encode(y("base")),
        points.mark_line(color=ACCENT, strokeWidth=2).encode(x, y("selected")),
        points.mark_point(filled=True, size=40, color=ACCENT, opacity=1).encode(x, y("selected")),
    ]
    title = alt.TitleParams(
        [shorten(ability.name, TITLE_CHARS), ability.growth],
        anchor="start", fontSize=12, fontWeight="normal", color=INK,
    )  # fmt: skip
    width, height = size
    return alt.layer(*layers).properties(width=width, height=height, title=title)
