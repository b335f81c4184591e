"""The chart of what became of each source's rows: dropped, not selected, selected, as shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from curate.core.lazy import lazy_module
from curate.core.numerals import number, percent
from curate.report.drawing import (
    ACCENT,
    ALARM,
    CHARS,
    CONTROL,
    MUTED,
    PLOT,
    TICK_OVERHANG,
    Drawing,
    axis_labels,
    from_values,
    row_axis,
    to_svg,
)
from curate.report.losses import Losses, SourceFates

if TYPE_CHECKING:
    from collections.abc import Iterator

    import altair as alt
else:
    alt = lazy_module("altair")

MOST = 12
# Room at the right end for the number of rows.
COUNTS = 52
NAMED = 3


def draw_fates(losses: Losses) -> Drawing:
    """Draw a bar for each of the largest sources, and beside it how many rows it has."""
    sources = [line.source for line in losses.by_stage[:MOST]]
    names = axis_labels([one.name or "(no origin)" for one in sources], CHARS)
    parts = [
        {"name": name, **part}
        for name, one in zip(names, sources, strict=True)
        for part in _parts(one)
    ]
    counts = [
        {"name": name, "rows": number(one.rows)} for name, one in zip(names, sources, strict=True)
    ]
    scale = alt.Scale(domain=[0, 1], nice=False)
    x = alt.X(
        "from:Q", title="share of its rows", scale=scale, axis=alt.Axis(tickCount=5, format="~%")
    )
    rows = row_axis("name", names)
    plot = PLOT - TICK_OVERHANG - COUNTS
    bars = from_values(parts).mark_bar(height=14)
    layers = [
        bars.encode(x, rows, alt.X2("to"), color=alt.Color("colour:N", scale=None)),
        from_values(counts).mark_text(align="right", color=MUTED).encode(
            alt.Text("rows:N"), rows, alt.XValue(plot + COUNTS)
        ),
    ]  # fmt: skip
    described = "; ".join(
        f"of {name} {percent(one.dropped_share)} dropped, {percent(one.selected_share)} selected"
        for name, one in zip(names[:NAMED], sources, strict=False)
    )
    more = f"; and {len(sources) - NAMED} more" if len(sources) > NAMED else ""
    words = f"What became of the rows of each {losses.by}: {described}{more}."
    return Drawing(to_svg(alt.layer(*layers), row=24, plot=plot), words)


def _parts(source: SourceFates) -> Iterator[dict[str, Any]]:
    """Yield the parts of a source's bar."""
    at = 0
    passed_over = source.rows - source.dropped - source.selected
    for count, colour in (
        (source.dropped, ALARM),
        (passed_over, CONTROL),
        (source.selected, ACCENT),
    ):
        if count:
            yield {
                "from": at / source.rows,
                "to": (at + count) / source.rows,
                "colour": colour,
            }
        at += count
