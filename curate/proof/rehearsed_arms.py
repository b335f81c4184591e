"""Arms of a rehearsed selection on watch sets: is less forgotten, and less than with rows by chance?

    rehearsed            the selection and the rows that the recipe's `rehearse` mixes in
    rehearsed_random     the selection and as many rows drawn by chance, where mix-cd draws the others

Each has the verdict of a watch set by the rule of the selection (curate.proof.harm), and stands against
the selection alone, and against the other arm: how much less the model does worse than the base, with a
95 % interval over examples and trainings. What lies above 0 as a whole is less forgotten. All verdicts
of a set share its level (Bonferroni); the comparisons decide nothing.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.core.jsontypes import JSON
from curate.proof.harm import Harm, judge_harm
from curate.proof.metrics import Metric
from curate.proof.statistics import IntervalEstimate, Matrix, estimate

REHEARSED, BY_CHANCE = "rehearsed", "rehearsed_random"
SELECTED = "selected"
# What an arm is compared with, in this order.
COMPARED = (SELECTED, BY_CHANCE)
LABELS: Mapping[str, str] = {
    REHEARSED: "with rehearsed rows",
    BY_CHANCE: "with as many rows by chance",
    SELECTED: "without any",
}


@dataclass(frozen=True)
class RehearsedVerdict:
    """The verdict of a watch set on an arm, and how much less it forgets than others, by their names."""

    arm: str
    harm: Harm
    less: Mapping[str, IntervalEstimate]

    def sentence(self, source: str) -> str:
        """Return what it says of a watch set of this name."""
        harm = self.harm
        compared = ", ".join(_less(other, gain) for other, gain in self.less.items())
        return (
            f"{source}, {LABELS[self.arm]}: {harm.verdict}; {harm.rise:+.3f} "
            f"[{harm.low:+.3f}, {harm.high:+.3f}]; {compared}"
        )


def rehearsed_arms(arms: Sequence[str]) -> list[str]:
    """Return which arms of a proof are rehearsed."""
    return [arm for arm in (REHEARSED, BY_CHANCE) if arm in arms]


def judge_rehearsed(
    gains: Mapping[str, Matrix],
    base: NDArray[np.float64],
    draws: Matrix,
    metric: Metric,
    margin: float,
    alpha: float,
    weights: NDArray[np.float64] | None,
) -> list[RehearsedVerdict]:
    """Return the verdict of a watch set on each rehearsed arm, and how much less it forgets.

    Args:
        gains: of all arms [trainings, examples]; larger is better.
        base: gains of the base.
        draws: gains of the random draws.
        metric: of the set.
        margin: the largest rise that is no harm.
        alpha: of each verdict.
        weights: of examples, as in curate.proof.statistics.
    """
    verdicts = []
    for arm in rehearsed_arms(list(gains)):
        harm = judge_harm(
            gains[arm], base, draws, margin=margin, alpha=alpha, counted=metric.counted,
            weights=weights,
        )  # fmt: skip
        others = [other for other in COMPARED if other in gains and other != arm]
        less = {other: estimate(gains[arm], gains[other]) for other in others}
        verdicts.append(RehearsedVerdict(arm, harm, less))
    return verdicts


def read_rehearsed(line: Mapping[str, JSON]) -> Iterator[RehearsedVerdict]:
    """Yield the verdicts that a watch set has in proof.json."""
    rehearsed: JSON = line.get("rehearsed", [])
    assert isinstance(rehearsed, list)
    for one in rehearsed:
        gains = one["less"]
        # The keys of a file are in the order of the alphabet.
        less = {other: IntervalEstimate(**gains[other]) for other in COMPARED if other in gains}
        yield RehearsedVerdict(one["arm"], Harm(**one["harm"]), less)


def _less(other: str, gain: IntervalEstimate) -> str:
    what = (
        "forgets less than"
        if gain.low > 0
        else "forgets more than"
        if gain.high < 0
        else "is not shown to forget less or more than"
    )
    # From 0, so that nothing at all is not -0.
    difference, low, high = 0 - gain.difference, 0 - gain.high, 0 - gain.low
    return f"{what} {LABELS[other]}: {difference:+.3f} [{low:+.3f}, {high:+.3f}]"
