"""The chart of the funnel: a bar for what remains after each step, as SVG of our own.

Every run has it, and small runs have no other: starting the renderer of the others takes half a
second, most of what such a run needs.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import escape

from curate.core.numerals import number
from curate.report.drawing import (
    ACCENT,
    CHARS,
    CONTROL,
    DIGIT,
    FAINT,
    FONT,
    FONT_SIZE,
    GUTTER,
    INK,
    MUTED,
    PLOT,
    Drawing,
    axis_labels,
    svg_tag,
)
from curate.report.wording import stage_label
from curate.runs.funnel import Funnel, FunnelStep

WITH_GENERATED = "With made rows"
LINE, BAR = 30, 18
# From the middle of a line down to the foot of its letters.
FOOT = 4
# Between the names and the bars, and between bars, counts and losses.
NAME_SPACE, COUNT_SPACE, LOSS_SPACE = 8, 12, 10
LEFT = GUTTER + 2


@dataclass(frozen=True)
class _Line:
    """A line of the chart; `loss` is what the step took away and added, in words."""

    name: str
    remaining: int
    before: int
    loss: str

    @property
    def count(self) -> str:
        return number(self.remaining)


def draw_funnel(funnel: Funnel) -> Drawing:
    """Draw what remains after each step, and beside it what the step took away."""
    steps = [("Records", FunnelStep("Records", (), funnel.records)), *_labelled_steps(funnel)]
    lines = [
        _Line(
            name,
            step.remaining,
            step.remaining - step.added + step.removed,
            f"+{number(funnel.generated)}" if name == WITH_GENERATED else _loss(step),
        )
        for name, step in steps
    ]
    described = "; ".join(f"{line.name} {line.count}" for line in lines)
    return Drawing(_svg(lines), f"Rows after each step: {described}.")


def _svg(lines: Sequence[_Line]) -> str:
    counts_end = PLOT - DIGIT * max(len(line.loss) for line in lines) - LOSS_SPACE
    bars_end = counts_end - DIGIT * max(len(line.count) for line in lines) - COUNT_SPACE
    scale = bars_end / max(1, *(line.remaining for line in lines))
    names = axis_labels([line.name for line in lines], CHARS)
    parts = [f'<g transform="translate({LEFT},2)" font-family="{FONT}" font-size="{FONT_SIZE}px">']
    for place, (name, line) in enumerate(zip(names, lines, strict=True)):
        middle = LINE * place + LINE // 2
        kept, before = line.remaining * scale, line.before * scale
        parts += [
            _bar(middle, kept, max(before - kept, 0), FAINT),
            _bar(middle, 0, kept, ACCENT if line is lines[-1] else CONTROL),
            _text(-NAME_SPACE, middle, name, INK),
            _text(counts_end, middle, line.count, INK, ' font-weight="bold"'),
            _text(PLOT, middle, line.loss, MUTED),
        ]
    return "".join([svg_tag(LINE * len(lines) + 4), *parts, "</g></svg>"])


def _bar(middle: int, start: float, width: float, colour: str) -> str:
    path = f"M{start:g},{middle - BAR // 2}h{width:g}v{BAR}h{-width:g}Z"
    return f'<path d="{path}" fill="{colour}"/>'


def _text(end: float, middle: int, text: str, colour: str, more: str = "") -> str:
    place = f'text-anchor="end" transform="translate({end:g},{middle + FOOT})"'
    return f'<text {place} fill="{colour}"{more}>{escape(text)}</text>'


def _loss(step: FunnelStep) -> str:
    changes = [f"−{number(step.removed)}"] if step.removed else []
    return " ".join([*changes, f"+{number(step.added)}"] if step.added else changes)


def _labelled_steps(funnel: Funnel) -> list[tuple[str, FunnelStep]]:
    """Return the steps with their names; rows that were made join after the reading."""
    first, *others = funnel.steps
    read = replace(first, remaining=first.remaining - funnel.generated)
    joined = (
        [(WITH_GENERATED, FunnelStep("joined", (), first.remaining))] if funnel.generated else []
    )
    return [(_step_label(first), read), *joined, *((_step_label(step), step) for step in others)]


def _step_label(step: FunnelStep) -> str:
    return {"pool": "Rows read", "select": "Selected"}.get(step.stage, stage_label(step.stage))
