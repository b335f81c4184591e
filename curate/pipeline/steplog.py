"""What a run's log says of its steps: a line for a list of steps that took a while or dropped rows.

    Embed rows                                 1,200 rows   12.3 s  3 of 8 reused
    Near duplicates                       812 of 900 kept    4.0 s

In detail there is a line for every list, and one for each of its steps: its key, its time, what it read.
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from curate.core.durations import duration_text
from curate.core.meter import STEPS, metered
from curate.core.store import Artifact, Computation
from curate.report.wording import steps_label

LOG = logging.getLogger("curate")
# Seconds from which on a list of steps is worth a line.
LONG = 2.0


@dataclass(frozen=True)
class StepsSummary:
    """A list of steps that is done.

    Attributes:
        names: of the steps, each once.
        artifacts: what they made, or what was stored.
        seconds: that they took.
    """

    names: Sequence[str]
    artifacts: Sequence[Artifact]
    seconds: float

    @property
    def level(self) -> int:
        """Return the level of its line: what took a moment and dropped nothing is a detail."""
        dropped = any(artifact.counts.get("dropped") for artifact in self.artifacts)
        return logging.INFO if dropped or self.seconds >= LONG else logging.DEBUG

    def line(self) -> str:
        """Return its line: names, rows, time, what was reused."""
        reused, parts = sum(one.cached for one in self.artifacts), len(self.artifacts)
        rest = f"{parts:,} parts" if parts > 1 else ""
        if reused:
            rest = "reused" if parts == 1 else f"{reused:,} of {parts:,} reused"
        took = duration_text(self.seconds)
        return f"{steps_label(self.names):<34} {self._rows:>18} {took:>8}  {rest}".rstrip()

    @property
    def _rows(self) -> str:
        counts = [artifact.counts for artifact in self.artifacts]
        rows = sum(int(one.get("rows_out", 0)) for one in counts)
        if any("dropped" in one for one in counts):
            return f"{rows:,} of {sum(int(one['rows_in']) for one in counts):,} kept"
        return f"{rows:,} row{'s' if rows > 1 else ''}" if rows else ""


def execute_logged(
    execute: Callable[[Sequence[Computation]], Iterable[Artifact]],
    steps: Sequence[Computation],
    clock: Callable[[], float] = time.monotonic,
) -> list[Artifact]:
    """Return the artifacts of steps, counted on a meter while they come; log what became of them."""
    names, artifacts = list(dict.fromkeys(step.name for step in steps)), list[Artifact]()
    started = clock()
    with metered(names, len(steps), STEPS) as meter:
        for artifact in execute(steps):
            artifacts.append(artifact)
            meter.reach(len(artifacts), sum(one.cached for one in artifacts))
    summary = StepsSummary(names, artifacts, clock() - started)
    LOG.log(summary.level, "%s", summary.line())
    for step, artifact in zip(steps, artifacts, strict=True):
        LOG.debug("  %s", _detail(step, artifact))
    return artifacts


def _detail(step: Computation, artifact: Artifact) -> str:
    reads = ", ".join(dict.fromkeys(one.path.name for one in step.inputs.values()))
    how = "reused; was made" if artifact.cached else "made"
    memory = f"at most {artifact.peak_memory_mb:,.0f} MB"
    read = f"; reads {reads}" if reads else ""
    return f"{artifact.path.name}: {how} in {duration_text(artifact.seconds)}, {memory}{read}"
