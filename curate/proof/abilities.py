"""Which abilities of an eval set still grow with more rows, by the gain of the last step of the budget.

    saturated    the 95 % interval of the gain lies within the margin to either side of 0
    growing      it lies above 0
    harmed       it lies below 0: the larger budget makes the ability worse
    not shown    none of these

An ability is a group of eval examples. Two questions are asked of every one: does the gain differ from
0, and is it smaller than the margin? One of several abilities may look remarkable by chance, so the p
values of each question are raised by Holm's method (1979): in 5 % of all curves at most, any ability
without a gain is called growing or harmed; in 5 %, any with a gain of the margin saturated.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import scipy

from curate.core.intervals import CONFIDENCE, paired_error
from curate.proof.statistics import Matrix, estimate

Growth = Literal["growing", "saturated", "harmed", "not shown"]


@dataclass(frozen=True)
class PairedTest:
    """What one training set gains over another, its 95 % interval and two p values.

    p: of a gain of 0. p_margin: of one of the margin or more, to either side; doubled, so that it is 5 %
    where the 95 % interval reaches the margin.
    """

    gain: float
    low: float
    high: float
    p: float
    p_margin: float


def paired_test(one: Matrix, other: Matrix, margin: float) -> PairedTest:
    """Return what a set gains over another one, trained in pairs; without any variance nothing is shown.

    Args:
        one: gains [trainings, examples].
        other: those of the other set, of the same shape.
        margin: what is no gain to speak of.
    """
    interval, (error, freedom) = estimate(one, other), paired_error(one - other)
    gain, p, p_margin = interval.difference, 1.0, 1.0
    if error > 0:
        p = 2 * float(scipy.stats.t.sf(abs(gain) / error, freedom))
        p_margin = min(2 * float(scipy.stats.t.sf((margin - abs(gain)) / error, freedom)), 1.0)
    return PairedTest(gain, interval.low, interval.high, p, p_margin)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p values raised for their number by Holm's step-down method, in the order given."""
    raised, highest = [0.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, (len(p_values) - rank) * p_values[place])
        raised[place] = min(highest, 1.0)
    return raised


def classify(tests: Sequence[PairedTest]) -> list[Growth]:
    """Return the class of each ability, all judged together."""
    differing, small = holm([test.p for test in tests]), holm([test.p_margin for test in tests])
    return [_class(test.gain, p, q) for test, p, q in zip(tests, differing, small, strict=True)]


def _class(gain: float, p: float, p_margin: float) -> Growth:
    alpha = 1 - CONFIDENCE
    # A gain that is shown to be there and shown not to matter does not matter.
    if p_margin <= alpha:
        return "saturated"
    if p > alpha:
        return "not shown"
    return "growing" if gain > 0 else "harmed"
