"""How far two samples of unit vectors lie apart: the maximum mean discrepancy (Gretton et al. 2012).

    MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y),    k(x, y) = exp(-|x - y|^2 / (2 s^2))

Published: the unbiased estimate (JMLR 13, equation 3), whose means leave out each vector's pair with
itself, and s as the median distance. It is 0 on average where both samples come from one distribution,
so it is below 0 about as often as above. Ours: s is the median over pairs of at most SAMPLED vectors,
evenly spaced, and without pairs of copies, which say nothing of a scale.

Cost: (n + m)^2 products of two vectors.
"""

import math

import numpy as np
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines, paired_cosines

SAMPLED = 2_000
BLOCK_ROWS = 2_048
# Squared distances below this are copies of one text.
SAME = 1e-6

Vectors = NDArray[np.floating]


def maximum_mean_discrepancy(
    one: Vectors, other: Vectors, bandwidth: float | None = None
) -> float | None:
    """Return the unbiased squared discrepancy of two samples; None where one has fewer than two vectors.

    Args:
        one: [n, d], of length 1.
        other: [m, d], of length 1.
        bandwidth: s; the median distance of both samples together if not given. Discrepancies can be
            compared with one another where they share it.
    """
    n, m = len(one), len(other)
    if min(n, m) < 2:
        return None
    width = bandwidth or median_distance(np.concatenate([one, other]))
    within = _other_pairs(one, width) / (n * (n - 1)) + _other_pairs(other, width) / (m * (m - 1))
    return within - 2 * _kernel_sum(one, other, width) / (n * m)


def median_distance(vectors: Vectors) -> float:
    """Return the median distance of pairs of different unit vectors; 1 where all are the same."""
    count = min(len(vectors), SAMPLED)
    sample = vectors[np.arange(count) * len(vectors) // max(count, 1)]
    squared = 2 - 2 * cosines(sample, sample)[np.triu_indices(count, 1)]
    different = squared[squared > SAME]
    return float(np.median(np.sqrt(different))) if len(different) else 1.0


def _other_pairs(vectors: Vectors, width: float) -> float:
    """Return the sum of the kernel over ordered pairs of a sample, without those of one with itself."""
    itself = _kernel(paired_cosines(vectors, vectors), width).sum()
    return _kernel_sum(vectors, vectors, width) - float(itself)


def _kernel_sum(one: Vectors, other: Vectors, width: float) -> float:
    """Return the sum of the kernel over all pairs of two samples."""
    blocks = (one[at : at + BLOCK_ROWS] for at in range(0, len(one), BLOCK_ROWS))
    return math.fsum(float(_kernel(cosines(block, other), width).sum()) for block in blocks)


def _kernel(similarities: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.exp((similarities - 1) / width**2)
    return values
