"""Spearman's correlation of a few ordered things, with the exact p value of all their orders.

If the order of k things means nothing, each of the k! orders of their values is as likely. The p value
is the share of orders whose correlation with 1, 2, ..., k lies as far from 0 as that of the values. For
few things it cannot be small: of five, only a perfect order has one below 5 % (2 of 120).

The statistic is the sum of place times rank. How many orders give each sum is counted by subsets: those
of the ranks that the first places can have taken, so that 10! orders are 2^10 steps.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy

MOST = 10


@dataclass(frozen=True)
class PermutationTest:
    """Spearman's correlation of places and values, its p value, and of how many orders."""

    correlation: float
    p: float
    orders: int


def permutation_test(values: Sequence[float]) -> PermutationTest:
    """Return how values rise with their places; without any difference among them they do not.

    Args:
        values: of the things in their order, MOST at most.
    """
    ranks = _doubled_ranks(values)
    far = _distance(sum(i * rank for i, rank in enumerate(ranks, 1)), ranks)
    counts = _orders_by_sum(ranks)
    orders = math.factorial(len(ranks))
    as_far = sum(count for total, count in counts.items() if _distance(total, ranks) >= far)
    return PermutationTest(rank_correlation(values), as_far / orders, orders)


def rank_correlation(values: Sequence[float]) -> float:
    """Return Spearman's correlation of values with their places, 0 where all are the same."""
    ranks = np.array(_doubled_ranks(values), dtype=np.float64)
    if np.ptp(ranks) == 0:
        return 0.0
    return round(float(np.corrcoef(np.arange(len(ranks)), ranks)[0, 1]), 12)


def least_correlation(count: int, alpha: float) -> float | None:
    """Return from which correlation on so many things have a p value of alpha at most; None if never."""
    ranks = _doubled_ranks(range(count))
    counts, allowed = _orders_by_sum(ranks), alpha * math.factorial(count)
    least, total = None, 0
    for far in sorted({_distance(one, ranks) for one in counts}, reverse=True):
        total += sum(n for one, n in counts.items() if _distance(one, ranks) == far)
        if total > allowed:
            break
        least = far
    farthest = max(_distance(one, ranks) for one in counts)
    return None if least is None else least / farthest


def _doubled_ranks(values: Sequence[float]) -> list[int]:
    """Return twice the ranks from 1 on, those of equal values their mean: whole numbers."""
    return [round(2 * rank) for rank in scipy.stats.rankdata(values)]


def _distance(total: int, ranks: Sequence[int]) -> int:
    """Return twice how far a sum of places times ranks lies from the mean over all orders."""
    return abs(2 * total - (len(ranks) + 1) * sum(ranks))


def _orders_by_sum(ranks: Sequence[int]) -> Counter[int]:
    """Return how many orders of ranks have each sum of places times ranks."""
    taken = {0: Counter({0: 1})}
    for place in range(1, len(ranks) + 1):
        larger: dict[int, Counter[int]] = {}
        for subset, sums in taken.items():
            for i, rank in enumerate(ranks):
                if not subset & 1 << i:
                    counts = larger.setdefault(subset | 1 << i, Counter())
                    for total, count in sums.items():
                        counts[total + place * rank] += count
        taken = larger
    return taken[(1 << len(ranks)) - 1]
