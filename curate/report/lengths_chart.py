"""The chart of how long rows are: pool, kept rows and selection over one axis, as SVG of our own.

Every run has it; see funnel_chart.
"""

import math
from collections.abc import Sequence

from curate.core.numerals import number, percent, significant
from curate.report.distributions import LengthDistribution, median_bin
from curate.report.drawing import (
    ACCENT,
    CONTROL,
    FAINT,
    FONT,
    FONT_SIZE,
    INK,
    LINE,
    MUTED,
    WIDTH,
    Drawing,
    svg_tag,
)

HIGH, TOP, FOOT = 178, 10, 40
LEFT, RIGHT = 46, 14
PLOT = HIGH - TOP - FOOT
GRID = 2
# Beyond this range there is no room for more than the powers of ten.
MANY_TIMES = 500


def draw_lengths(lengths: LengthDistribution) -> Drawing:
    """Draw the share of rows in each bin: the pool as bars, kept rows and selection as lines."""
    shares = [one.counts.shares(lengths.total) for one in lengths.bins]
    most = max(value for line in shares for value in line) or 1.0
    step = (WIDTH - LEFT - RIGHT) / len(shares)
    pool, kept, selected = zip(*shares, strict=True)
    parts = [
        f'<g font-family="{FONT}" font-size="{FONT_SIZE}px">',
        *_grid(most),
        *(
            f'<path d="M{LEFT + step * at + 0.5:g},{_height(share, most):g}'
            f'h{step - 1:g}V{TOP + PLOT}h{1 - step:g}Z" fill="{CONTROL}" opacity="0.45"/>'
            for at, share in enumerate(pool)
            if share
        ),
        _line(kept, step, most, INK, 1.5),
        _line(selected, step, most, ACCENT, 2.5),
        *_ticks(lengths, step),
        "</g></svg>",
    ]
    return Drawing("".join([svg_tag(HIGH), *parts]), _words(lengths))


def _height(share: float, most: float) -> float:
    return TOP + PLOT * (1 - share / most)


def _line(shares: Sequence[float], step: float, most: float, colour: str, width: float) -> str:
    points = " ".join(
        f"{LEFT + step * (at + 0.5):.1f},{_height(share, most):.1f}"
        for at, share in enumerate(shares)
    )
    return (
        f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}" '
        'stroke-linejoin="round"/>'
    )


def _grid(most: float) -> list[str]:
    lines = []
    for part in range(GRID + 1):
        at = TOP + PLOT * (1 - part / GRID)
        colour = LINE if part == 0 else FAINT
        lines += [
            f'<path d="M{LEFT},{at:g}H{WIDTH - RIGHT}" stroke="{colour}"/>',
            _text(LEFT - 8, at + 4, percent(most * part / GRID), "end"),
        ]
    return lines


def _ticks(lengths: LengthDistribution, step: float) -> list[str]:
    """Return round numbers below the axis, and its title."""
    low, high = lengths.bins[0].low, lengths.bins[-1].high
    scale = step * len(lengths.bins) / math.log10(high / low)
    first = math.floor(math.log10(low))
    firsts = (1,) if high / low > MANY_TIMES else (1, 2, 5)
    values = [one * 10**power for power in range(first, first + 8) for one in firsts]
    ticks = [
        _text(LEFT + scale * math.log10(value / low), TOP + PLOT + 17, number(value), "middle")
        for value in values
        if low * 0.999 <= value <= high * 1.001
    ]
    middle = (LEFT + WIDTH - RIGHT) / 2
    return [*ticks, _text(middle, HIGH - 5, "characters of all turns, logarithmic", "middle")]


def _text(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x:g}" y="{y:g}" text-anchor="{anchor}" fill="{MUTED}">{text}</text>'


def _words(lengths: LengthDistribution) -> str:
    pool, kept, selected = (significant(value) for value in median_bin(lengths))
    return (
        f"How long rows are, by share of rows: half of the pool has up to about {pool} characters, half "
        f"of the kept rows up to {kept}, half of the selection up to {selected}."
    )
