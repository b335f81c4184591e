"""Entropy of counts, and what it becomes when a little is added: the measure of an even mixture."""

import numpy as np
from numpy.typing import NDArray


def entropies_after(
    counts: NDArray[np.int64], values: NDArray[np.int64], times: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return the entropy of value counts [V] after each of C candidates alone is added to them.

    With A = sum c ln c and T = sum c, the entropy is ln T - A / T, and a candidate changes only the
    terms of its own values.

    Args:
        counts: how often each value has been chosen.
        values: of each candidate [C, W].
        times: how often it has them [C, W].
    """
    before = counts[values]
    change = (_times_log(before + times) - _times_log(before)).sum(axis=1)
    total = counts.sum() + times.sum(axis=1)
    entropies: NDArray[np.float64] = np.log(total) - (_times_log(counts).sum() + change) / total
    return entropies


def _times_log(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    terms: NDArray[np.float64] = counts.astype(np.float64) * np.log(np.maximum(counts, 1))
    return terms
