"""How every chart of the report looks: colours, sizes, axes, and the way to SVG without a browser.

Every chart is drawn about 420 px wide, so that it fits a column of the page and, hardly smaller, a
telephone. Colours come from PALETTE: a chart is drawn in the light ones, and `palette_css` turns
these into variables that follow the reader's colour scheme.
"""

from __future__ import annotations

import logging
import re
import resource
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from curate.core.escape import shorten
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import altair as alt
else:
    alt = lazy_module("altair")

LOG = logging.getLogger("curate")
NO_CHART = (
    '<svg viewBox="0 0 420 24" width="420" height="24" aria-hidden="true"><text x="2" y="16" '
    'fill="#59626d" font-size="12">no chart: its renderer needs more address space</text></svg>'
)
FONT = "'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'Liberation Sans', sans-serif"
FONT_SIZE = 12
WIDTH = 420
# Room for the names beside a chart and for the marks; names of origins are long.
GUTTER, PLOT = 142, 264
WIDE_GUTTER, NARROW_PLOT = 196, 206
# A tick label at the right end sticks out so far.
TICK_OVERHANG = 14
# The width of a digit, bold.
DIGIT = 7
CHARS = 22
WIDE_CHARS = 29


@dataclass(frozen=True)
class Shade:
    """A colour on a light page and on a dark one."""

    light: str
    dark: str


PALETTE = {
    "paper": Shade("#ffffff", "#15181b"),
    "ink": Shade("#1d2126", "#e4e7ea"),
    "muted": Shade("#59626d", "#a3abb5"),
    "line": Shade("#d8dce1", "#343a41"),
    "faint": Shade("#e9ecef", "#2a3036"),
    "accent": Shade("#0b5fae", "#6bb3f7"),
    "control": Shade("#848d98", "#838c97"),
    "alarm": Shade("#a63c06", "#ffa26b"),
    "alarm-paper": Shade("#fdf3ec", "#2c1e15"),
    "mark": Shade("#ffe9a8", "#5a4708"),
}
INK, MUTED, LINE = PALETTE["ink"].light, PALETTE["muted"].light, PALETTE["line"].light
FAINT, ACCENT, CONTROL = PALETTE["faint"].light, PALETTE["accent"].light, PALETTE["control"].light
ALARM = PALETTE["alarm"].light


@dataclass(frozen=True)
class Drawing:
    """A chart as SVG, and what it shows in words."""

    svg: str
    alt: str


def palette_css() -> str:
    """Return the colours as CSS variables, and the rules that make charts use them."""
    light = "".join(f"--{name}:{shade.light};" for name, shade in PALETTE.items())
    dark = "".join(f"--{name}:{shade.dark};" for name, shade in PALETTE.items())
    drawn = "\n".join(
        f'svg [{kind}="{shade.light}"]{{{kind}:var(--{name})}}'
        for name, shade in PALETTE.items()
        for kind in ("fill", "stroke")
    )
    return (
        f":root{{{light}}}\n"
        f"@media screen and (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{drawn}\n"
    )


def from_values(values: Sequence[dict[str, Any]]) -> alt.Chart:
    """Return a chart of these values, without a mark yet."""
    return alt.Chart(alt.Data(values=list(values)))


def row_axis(field: str, order: Sequence[str], gutter: int = GUTTER) -> alt.Y:
    """Return a y encoding with a labelled line for each name, in the order given."""
    axis = alt.Axis(ticks=False, minExtent=gutter, maxExtent=gutter, labelLimit=gutter - 10)
    return alt.Y(f"{field}:N", sort=list(order), title=None, axis=axis)


def remark(text: str, x: int | str, y: int, align: Any, *, colour: str = MUTED) -> alt.Chart:
    """Return a line of text at pixels x and y of a panel, or at its "width"; its bottom is there."""
    mark = from_values([{}]).mark_text(text=text, align=align, baseline="bottom", color=colour)
    # Told of its channel: to find it for a bare value, altair looks through its whole schema.
    return mark.encode(alt.XValue(x), alt.YValue(y))


def padded(values: Sequence[float]) -> tuple[float, float]:
    """Return the range of values with a margin around it."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 1.0
    return low - margin, high + margin


def axis_labels(names: Sequence[str], chars: int) -> list[str]:
    """Return short names for an axis, made distinct by a number where cutting made them equal."""
    short = [shorten(name, chars) for name in names]
    seen: Counter[str] = Counter()
    labels = []
    for name in short:
        seen[name] += 1
        labels.append(name if seen[name] == 1 else f"{seen[name]}: {name}")
    return labels


def to_svg(chart: Any, row: int | None = None, plot: int = PLOT) -> str:
    """Render a chart, each of its rows so many pixels high, in a WIDTH that all charts share."""
    sized = chart.properties(width=plot, height=alt.Step(row)) if row else chart.copy(deep=False)
    text = {"labelFont": FONT, "titleFont": FONT, "labelFontSize": FONT_SIZE}
    # All at once: each of altair's configure methods would copy the whole chart.
    sized.config = alt.Config(
        font=FONT, background="transparent", padding=2, aria=False,
        view=alt.ViewConfig(stroke=None),
        text=alt.MarkConfig(fontSize=FONT_SIZE, font=FONT),
        axis=alt.AxisConfig(
            **text, labelColor=MUTED, titleColor=MUTED, titleFontSize=FONT_SIZE,
            titleFontWeight="normal", gridColor=FAINT, domain=False, tickColor=LINE,
        ),
        axisX=alt.AxisConfig(titlePadding=8),
        axisY=alt.AxisConfig(grid=False, labelPadding=8),
        axisDiscrete=alt.AxisConfig(labelColor=INK),
    )  # fmt: skip
    if not can_draw():
        return NO_CHART
    specification = sized.to_dict(validate=alt.utils.schemapi.DEBUG_MODE)
    import vl_convert  # Reserves address space as it is loaded, and ends the process where it may not.  # noqa: PLC0415

    svg = vl_convert.vegalite_to_svg(specification, vl_version=_vega_lite_version())
    size = re.search(r'width="([\d.]+)" height="([\d.]+)"', svg)
    if size is None:
        raise ValueError(f"vl-convert returned an SVG without a size: {svg[:200]}")
    return svg_tag(size[2], max(WIDTH, round(float(size[1])))) + svg.split(">", 1)[1]


def draw_unchecked(draw: Callable[..., Any], *data: Any) -> Any:
    """Draw a chart that altair compares with its schema neither in parts nor as a whole.

    That takes twice as long as the rest; the tests draw every kind of chart compared.
    """
    with alt.utils.schemapi.debug_mode(False):
        return draw(*data)


def svg_tag(high: object, wide: int = WIDTH) -> str:
    """Return the tag that opens a chart: its size, for which CSS has the last word."""
    return f'<svg viewBox="0 0 {wide} {high}" width="{wide}" height="{high}" aria-hidden="true">'


@cache
def can_draw() -> bool:
    """Return whether the renderer of charts can start here.

    It needs tens of gigabytes of address space, hardly any of it memory. Under a limit (ulimit -v) it
    would end this process, so another one tries first.
    """
    if resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        return True
    code = (
        "import vl_convert; vl_convert.vegalite_to_svg({'mark': 'point', 'data': {'values': []}})"
    )
    if subprocess.run([sys.executable, "-P", "-c", code], capture_output=True).returncode == 0:
        return True
    LOG.warning("the report has no charts: their renderer needs more address space (ulimit -v)")
    return False


def _vega_lite_version() -> str:
    return ".".join(alt.SCHEMA_VERSION.removeprefix("v").split(".")[:2])
