"""The steps at work, and how long they take yet, from the meters that they announce.

A list of steps is one line: with 3 of 8 blocks embedded and half of the fourth, 12 seconds in, 3.5 have
taken 12 seconds, and the other 4.5 will take 15.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from curate.core.meter import STEPS, Meter, listening

Clock = Callable[[], float]


@dataclass(frozen=True)
class StepProgress:
    """How far a list of steps is.

    Attributes:
        names: of the steps.
        done: how many of them are done.
        total: how many there are.
        share: of the work that is done, from 0 to 1; None where nobody knows.
        started: when it began, by the clock.
        elapsed: seconds since then.
        left: seconds that it takes yet, by the pace so far; None where nobody knows.
        inside: how far the step at work is by itself, in words.
    """

    names: tuple[str, ...]
    done: int
    total: int
    share: float | None
    started: float
    elapsed: float
    left: float | None
    inside: str = ""


@dataclass
class TrackedSteps:
    """A list of steps at work: its meter, when it began, and the meters of its steps at work."""

    meter: Meter
    started: float
    inner: list[Meter] = field(default_factory=list)

    def progress(self, now: float) -> StepProgress:
        """Return how far it is."""
        counted = [meter for meter in self.inner if meter.total]
        parts = sum(min(meter.done / meter.total, 1.0) for meter in counted)
        done, total = self.meter.done, self.meter.total
        elapsed, computed = now - self.started, done - self.meter.reused + parts
        rest = max(total - done - parts, 0.0)
        share = (done + parts) / total if total > 1 or counted else None
        return StepProgress(
            tuple(self.meter.names),
            done,
            total,
            share,
            self.started,
            elapsed,
            elapsed / computed * rest if computed else None,
            "; ".join(map(_words, counted)),
        )


def _words(meter: Meter) -> str:
    note = f", {meter.note}" if meter.note else ""
    return f"{meter.done:,} of {meter.total:,} {meter.unit}{note}"


class ProgressTracker:
    """The steps at work, known by their meters.

    Args:
        clock: seconds, of which only differences count.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._steps: list[TrackedSteps] = []
        self._access = threading.Lock()

    def note(self, meter: Meter) -> None:
        """Take note of a meter that starts or ends."""
        with self._access:
            if meter.unit == STEPS:
                self._track(meter)
            else:
                self._track_inner(meter)

    def _track(self, meter: Meter) -> None:
        if meter.ended:
            self._steps = [one for one in self._steps if one.meter is not meter]
        else:
            self._steps.append(TrackedSteps(meter, self._clock()))

    def _track_inner(self, meter: Meter) -> None:
        for steps in self._steps:
            if meter.ended:
                steps.inner = [one for one in steps.inner if one is not meter]
            elif set(meter.names) <= set(steps.meter.names):
                steps.inner.append(meter)
                return

    def at_work(self) -> list[StepProgress]:
        """Return how far the steps at work are, in the order in which they began."""
        with self._access:
            now = self._clock()
            return [steps.progress(now) for steps in self._steps]

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to the meters of this process."""
        with listening(self.note):
            yield
