"""The funnel of a run as lines of text: what is left after each step, as a bar, and why rows left.

read               900  ████████████████████
Exact duplicates   812  ██████████████████    88 dropped: exact_duplicate
selected            48  █                     764 not selected: over_budget
"""

from collections.abc import Iterator

from curate.report.wording import stage_label
from curate.runs.funnel import Funnel, FunnelStep

BAR, LABEL, REASONS = 20, 26, 3
EIGHTHS = " ▏▎▍▌▋▊▉█"


def funnel_lines(funnel: Funnel, width: int | None = None) -> Iterator[str]:
    """Yield a line for each step of a funnel, cut to a width where there is one."""
    most = max(step.remaining for step in funnel.steps)
    wide, last = len(f"{most:,}"), len(funnel.steps) - 1
    labels = ["read", *(stage_label(step.stage) for step in funnel.steps[1:-1]), "selected"]
    longest = min(max(map(len, labels)), LABEL)
    for number, step in enumerate(funnel.steps):
        bar = bar_text(step.remaining / max(most, 1))
        line = f"{labels[number][:LABEL]:<{longest}} {step.remaining:>{wide},}  {bar:<{BAR}}"
        yield _cut(f"{line}  {_left(step, number, number == last)}".rstrip(), width)


def _cut(line: str, width: int | None) -> str:
    return line if width is None or len(line) <= width else f"{line[: width - 1]}…"


def _left(step: FunnelStep, number: int, last: bool) -> str:
    """Return how many rows leave at a step, and why."""
    parts = []
    if step.removed:
        how = "rejected" if number == 0 else "not selected" if last else "dropped"
        reasons = ", ".join(
            name if len(step.left) == 1 else f"{name} {count:,}"
            for name, count in step.left[:REASONS]
        )
        more = f" and {len(step.left) - REASONS} more" if len(step.left) > REASONS else ""
        parts.append(f"{step.removed:,} {how}: {reasons}{more}")
    if step.added:
        parts.append(f"{step.added:,} made")
    return "; ".join(parts)


def bar_text(share: float) -> str:
    """Return a bar of BAR characters for a share of 1, to the eighth of one."""
    eighths = max(round(share * BAR * 8), 1 if share > 0 else 0)
    return EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8].strip()
