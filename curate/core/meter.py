"""A meter says how far a piece of work is, to whoever shows that while the work goes on.

    with metered(["embed"], 8, STEPS) as meter:      # a list of steps
        ...
        meter.reach(3)

    meter = current_meter()                          # inside one of them
    meter.expect(120, "training steps")
    meter.advance()

Work does not know who watches it. A listener is given a meter when it starts and when it ends, and
reads it in between. In a worker's process nobody listens, and a meter costs an addition.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

# Of meters that count the steps of a run, each of which may have a meter of its own.
STEPS = "steps"


@dataclass(eq=False)
class Meter:
    """How far a piece of work is: `done` of `total` units; 0 of 0 where nobody knows.

    Attributes:
        names: of the steps that it is the work of.
        total: the units of it, as far as is known by now.
        unit: what they are, in words.
        done: units that are done.
        reused: those of them that took no work.
        note: what else there is to say: the rate, what failed.
        ended: whether the work is over.
    """

    names: Sequence[str] = ()
    total: int = 0
    unit: str = ""
    done: int = 0
    reused: int = 0
    note: str = ""
    ended: bool = False

    def expect(self, units: int, unit: str) -> None:
        """Expect further units of work."""
        self.total += units
        self.unit = unit

    def advance(self, units: int = 1) -> None:
        """Count units as done."""
        self.done += units

    def reach(self, done: int, reused: int = 0) -> None:
        """Set how many units are done, and how many of them took no work; they never get fewer."""
        self.done, self.reused = max(done, self.done), max(reused, self.reused)


MeterListener = Callable[[Meter], None]
# Of the process, as its standard error is: who shows how far its work is.
_listeners: list[MeterListener] = []
_current: ContextVar[Meter | None] = ContextVar("meter", default=None)


def current_meter() -> Meter:
    """Return the meter of the work that this is part of; one that nobody reads where there is none."""
    return _current.get() or Meter()


@contextmanager
def metered(names: Sequence[str], total: int = 0, unit: str = "") -> Iterator[Meter]:
    """Announce a meter while a piece of work goes on, which is its current one."""
    meter = Meter(names, total, unit)
    before = _current.set(meter)
    _announce(meter)
    try:
        yield meter
    finally:
        meter.ended = True
        _announce(meter)
        _current.reset(before)


@contextmanager
def listening(listener: MeterListener) -> Iterator[None]:
    """Call a listener with every meter of this process that starts, and again when it ends."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def _announce(meter: Meter) -> None:
    for listener in tuple(_listeners):
        listener(meter)
