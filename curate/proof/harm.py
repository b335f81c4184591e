"""Harm: non-inferiority of tuned models against the base, on rows where tuning must change nothing.

For m trainings and E examples, r[t, e] is how much worse training t does on example e than the base (the
rise of the loss, or the fall of a metric where more is better). With d the mean of all r,

    half^2 = t(1 - alpha / 2, E - 1)^2 * var_e(mean_t r) / E
           + t(1 - alpha / 2, m - 1)^2 * var_t(mean_e r) / m

d - half to d + half is an interval over examples and trainings. Each part has the t quantile of its own
degrees of freedom: Satterthwaite's formula would take two trainings that happen to agree at their word.
Below three trainings the second variance is that of the n random draws, with n - 1 degrees; they differ
in rows as well. The set is *kept* if the whole interval lies below the margin, *lost* if it lies above,
else it is *not shown*. So a rise as large as the margin is called kept in at most alpha / 2 of all
proofs.

Where each example is right or wrong, few of them change, and none may: the examples are then taken to
vary at least as they do if a share `margin` of them got worse.
"""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from curate.proof.statistics import DECIMALS, Matrix, t_quantile

HarmVerdict = Literal["kept", "lost", "not shown"]
# Fewer trainings say next to nothing of how far trainings lie apart.
FEW_TRAININGS = 3


@dataclass(frozen=True)
class Harm:
    """The mean rise over the base with its interval, and whether it stays below the margin."""

    rise: float
    low: float
    high: float
    verdict: HarmVerdict


def judge_harm(
    tuned: Matrix,
    base: NDArray[np.float64],
    draws: Matrix,
    *,
    margin: float,
    alpha: float,
    counted: bool = False,
    weights: NDArray[np.float64] | None = None,
) -> Harm:
    """Return how much worse than the base models do that were tuned on one set of rows.

    Args:
        tuned: gains of these models [trainings, examples]; larger is better.
        base: gains of the base [examples].
        draws: gains of models tuned on random draws [draws, examples].
        margin: the largest rise that is no harm.
        alpha: of the interval; a rise of `margin` is called kept in half as many proofs.
        counted: each example is right or wrong.
        weights: of examples whose gains were multiplied by them, as in curate.proof.statistics.
    """
    rises = base - tuned
    trainings, examples = rises.shape
    residuals = rises.mean(axis=0) - (0 if weights is None else weights * rises.mean())
    by_example = residuals.var(ddof=1)
    if counted:
        by_example = max(by_example, margin * (1 - margin))
    runs = draws if trainings < FEW_TRAININGS else rises
    half = math.hypot(
        t_quantile(alpha, examples) * math.sqrt(by_example / examples),
        t_quantile(alpha, len(runs)) * math.sqrt(runs.mean(axis=1).var(ddof=1) / trainings),
    )
    rise, low, high = (round(float(rises.mean() + x), DECIMALS) for x in (0, -half, half))
    return Harm(rise, low, high, judge_rise(low, high, margin))


def judge_rise(low: float, high: float, margin: float) -> HarmVerdict:
    """Return the verdict of an interval: only what lies wholly on one side of the margin has one."""
    if high < margin:
        return "kept"
    return "lost" if low > margin else "not shown"


def fewest_examples(margin: float, alpha: float) -> int:
    """Return from how many right or wrong answers on none that changed shows that few do."""
    count = 2
    while t_quantile(alpha, count) * math.sqrt((1 - margin) / (margin * count)) >= 1:
        count += 1
    return count
