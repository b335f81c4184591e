"""How long work takes, as a range that comes from timing some of it.

measure_pace(batches, seconds=1.5) * 2_000        Range(low=1.61, likely=1.84, high=2.37)
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import cycle
from time import perf_counter as clock

import numpy as np

STANDARD_ERRORS = 2.0


@dataclass(frozen=True)
class Range:
    """A likely number between the least and the most that measurements speak for."""

    low: float = 0.0
    likely: float = 0.0
    high: float = 0.0

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.likely + other.likely, self.high + other.high)

    def __mul__(self, other: "Range | float") -> "Range":
        by = other if isinstance(other, Range) else exactly(other)
        return Range(self.low * by.low, self.likely * by.likely, self.high * by.high)


def exactly(value: float) -> Range:
    """Return a number that is certain."""
    return Range(value, value, value)


def mean_of_sample(values: Sequence[float], population: int) -> Range:
    """Return the mean of a population from a sample of it, with two standard errors either way."""
    mean = float(np.mean(values))
    if len(values) >= population:
        return exactly(mean)
    unseen = 1 - len(values) / population
    error = STANDARD_ERRORS * float(np.std(values)) * (unseen / len(values)) ** 0.5
    return Range(max(mean - error, 0.0), mean, mean + error)


def measure_pace(
    batches: Sequence[tuple[float, Callable[[], object]]], *, seconds: float = 0.0
) -> Range:
    """Return seconds a unit of work, from timing batches of it one after the other.

    The range goes from the mean of the fastest quarter of the batches to that of the slowest. It holds
    what differs between batches now (their lengths, other work on the machine), not what changes later.

    Args:
        batches: the size of each in units, and what works it off; every one is timed at least once.
        seconds: begin again with the first until so long has been spent.
    """
    started = clock()
    times: list[tuple[float, float]] = []
    for number, (size, work) in enumerate(cycle(batches)):
        before = clock()
        if number >= len(batches) and before - started >= seconds:
            break
        work()
        times.append((clock() - before, size))
    paces = sorted(spent / size for spent, size in times)
    quarter = -(-len(paces) // 4)
    likely = sum(spent for spent, _ in times) / sum(size for _, size in times)
    low, high = np.mean(paces[:quarter]), np.mean(paces[-quarter:])
    return Range(min(float(low), likely), likely, max(float(high), likely))
