"""Better than random? A prediction interval: could one more random draw have scored this?

A random set is above or below the mean of random sets too, and more draws place that mean ever more
exactly. So an interval of the mean calls a random set better or worse as often as one likes. Here the
selection counts as one more draw, and so for n draws of mean losses with standard deviation s

    half = t(1 - alpha / 2, n - 1) * s * sqrt(1 + 1 / n)

holds 1 - alpha of what another draw would score, exactly so for normal ones, whatever the eval set is
and however many examples it has. Every draw is trained with a seed of its own. The selection may be the
mean of several trainings: these vary less than one, which makes the rule stricter than it says.

All arrays hold gains: larger is better, losses with their sign turned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import scipy
from numpy.typing import NDArray

from curate.core.intervals import CONFIDENCE, half_interval

Verdict = Literal["better", "worse", "within the range of random draws"]
WITHIN: Verdict = "within the range of random draws"
ALPHA, STRICT_ALPHA = 0.05, 0.03
# Beyond these, a figure says which processor added it up.
DECIMALS = 12
Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Spread:
    """The standard deviation of random draws, with its 95 % interval."""

    draws: int
    mean: float
    sd: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """The selection against random draws; positive differences mean that the selection is better.

    half: another random draw differs from the mean of the draws by less, but for a share alpha.
    low, high: the estimate, a 95 % interval of the difference to the average random set; no verdict.
    """

    difference: float
    half: float
    low: float
    high: float
    verdict: Verdict


@dataclass(frozen=True)
class IntervalEstimate:
    """A difference with its 95 % interval."""

    difference: float
    low: float
    high: float


@dataclass(frozen=True)
class Rank:
    """The place of the selection among itself and n draws, 1 the best, and its two-sided p value.

    It needs no assumption about the draws, and 39 of them to come to 5 %.
    """

    place: int
    of: int
    p: float


def level(strict: bool, judged: int = 1) -> float:
    """Return how often a random draw may be called better or worse.

    Args:
        strict: whether skewed draws are to be called as rarely as normal ones.
        judged: how many selections share the level (Bonferroni).
    """
    return (STRICT_ALPHA if strict else ALPHA) / judged


def prediction_factor(draws: int, alpha: float) -> float:
    """Return how many standard deviations of the draws a difference has to exceed."""
    return t_quantile(alpha, draws) * math.sqrt(1 + 1 / draws)


def measure_spread(gains: Sequence[float]) -> Spread:
    """Return mean and standard deviation of draws; the interval holds for normal ones.

    Args:
        gains: of two or more draws.
    """
    values, freedom = np.asarray(gains, dtype=np.float64), len(gains) - 1
    sd = _round(values.std(ddof=1))
    tail = (1 - CONFIDENCE) / 2
    # Quantiles of the chi-squared distribution; scipy.stats takes a second to import.
    quantiles = (2 * scipy.special.gammaincinv(freedom / 2, share) for share in (1 - tail, tail))
    low, high = (sd * math.sqrt(freedom / quantile) for quantile in quantiles)
    return Spread(len(values), _round(values.mean()), sd, _round(low), _round(high))


def compare(
    selected: Matrix,
    draws: Matrix,
    *,
    alpha: float,
    shift: Matrix | None = None,
    step: float = 0.0,
    weights: NDArray[np.float64] | None = None,
) -> Comparison:
    """Return the difference between a selection and random draws, and its verdict.

    Args:
        selected: gains of the selection [trainings, examples].
        draws: gains of random draws [draws, examples].
        alpha: how often a random draw may be called better or worse.
        shift: of a few draws, the gains of the same draws in another size less their own [few,
            examples]; then the selection is compared with draws of that other size. Their number adds
            its own error to that of the mean.
        step: the smallest difference that the metric can show; draws that all score the same are
            taken to differ by as much. Without one, such draws say nothing of where another one may
            lie, and nothing is better or worse than they are.
        weights: of examples whose gains were multiplied by them, with mean 1: the mean is a ratio, whose
            error has no part of how the weights vary.
    """
    by_example = selected.mean(axis=0) - draws.mean(axis=0)
    by_draw, count = draws.mean(axis=1), len(draws)
    variance, shift_error = max(by_draw.std(ddof=1), step) ** 2, 0.0
    if shift is not None:
        by_example = by_example - shift.mean(axis=0)
        shift_error = shift.mean(axis=1).var(ddof=1) / len(shift)
    difference = _round(by_example.mean())
    half = _round(t_quantile(alpha, count) * math.sqrt(variance * (1 + 1 / count) + shift_error))
    residuals = by_example if weights is None else by_example - weights * difference
    examples = residuals.var(ddof=1) / residuals.size if residuals.size > 1 else 0.0
    error = math.sqrt(variance / count + shift_error + examples)
    reach = t_quantile(1 - CONFIDENCE, count) * error
    return Comparison(
        difference,
        half,
        _round(difference - reach),
        _round(difference + reach),
        judge(difference, half),
    )


def estimate(one: Matrix, other: Matrix) -> IntervalEstimate:
    """Return how far two fixed training sets lie apart, with a 95 % interval; no verdict.

    The trainings of a number are a pair: they have the same seed. Their differences vary with the seed
    and with the eval examples (curate.core.intervals).

    Args:
        one: gains [trainings, examples].
        other: gains of the other set, of the same shape.
    """
    differences = one - other
    difference, reach = _round(differences.mean()), half_interval(differences)
    return IntervalEstimate(difference, _round(difference - reach), _round(difference + reach))


def rank_among(selected: float, draws: Sequence[float]) -> Rank:
    """Return the place of the selection among draws; draws that are as good count against a claim."""
    gains = np.asarray(draws)
    above, as_good = int((gains > selected).sum()), int((gains >= selected).sum())
    as_bad = int((gains <= selected).sum())
    p = min(1.0, 2 * (1 + min(as_good, as_bad)) / (len(gains) + 1))
    return Rank(1 + above, len(gains) + 1, p)


def judge(difference: float, half: float) -> Verdict:
    """Return the verdict: only what random draws hardly ever reach is better or worse.

    Draws that all score the same have no range: what they hardly ever reach is not known.
    """
    if not half or abs(difference) <= half:
        return WITHIN
    return "better" if difference > 0 else "worse"


def judge_all(verdicts: Sequence[Verdict]) -> Verdict:
    """Return better or worse only if every comparison says so."""
    first = verdicts[0]
    return first if all(v == first for v in verdicts) else WITHIN


def t_quantile(alpha: float, count: int) -> float:
    """Return by how many standard errors the mean of so many may miss, two-sided.

    Args:
        alpha: how often it may miss by more.
        count: of values, one more than the degrees of freedom.
    """
    return float(scipy.special.stdtrit(count - 1, 1 - alpha / 2))


def _round(value: float) -> float:
    return round(float(value), DECIMALS)
