"""Paired differences with bootstrap intervals, and what may be said of them."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Verdict = Literal["better", "worse", "no difference shown"]
CHUNK = 1_000
DECIMALS = 12


@dataclass(frozen=True)
class Difference:
    """A mean paired difference with its 95 % interval; positive means that the selection is better."""

    mean: float
    low: float
    high: float
    verdict: Verdict


def compare(
    differences: NDArray[np.float64], *, resamples: int, rng: np.random.Generator
) -> Difference:
    """Return mean and 95 % percentile interval of paired differences [seeds, examples].

    Seeds and examples are both drawn with replacement, independently of each other (Owen 2007, "The
    pigeonhole bootstrap", arXiv:0712.1111): a seed carries its own control draw and training order,
    an example its own difficulty, and both count as samples of what could have been.

    Redrawing S seeds shows only (S - 1) / S of their variance, so the means of seeds are first moved
    apart by sqrt(S / (S - 1)) (Rao and Wu 1988, "Resampling inference with complex survey data").
    With few seeds that differ much the interval is still too narrow; one seed shows no such spread.
    """
    seeds, examples = differences.shape
    grand = differences.mean()
    if seeds > 1:
        apart = differences.mean(axis=1, keepdims=True) - grand
        differences = differences + (np.sqrt(seeds / (seeds - 1)) - 1) * apart
    means = []
    for start in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - start)
        by_seed = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=count) / seeds
        by_example = rng.multinomial(examples, np.full(examples, 1 / examples), size=count)
        means.append(((by_seed @ differences) * by_example).sum(axis=1) / examples)
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    # Beyond these, a figure says which processor added it up.
    mean, low, high = (round(float(value), DECIMALS) for value in (grand, low, high))
    return Difference(mean, low, high, judge(low, high))


def judge(low: float, high: float) -> Verdict:
    """Return the verdict of an interval: only one that excludes 0 shows a difference."""
    if low > 0:
        return "better"
    if high < 0:
        return "worse"
    return "no difference shown"


def judge_all(verdicts: list[Verdict]) -> Verdict:
    """Return better or worse only if every comparison says so."""
    first = verdicts[0]
    return first if all(v == first for v in verdicts) else "no difference shown"
