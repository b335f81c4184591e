"""The Vendi score: how many rows that have nothing in common are as diverse as a set of vectors.

    exp(-sum l log l),    l the eigenvalues of the cosine kernel / n

Published: Friedman & Dieng, "The Vendi Score" (TMLR 2023), equation 1. It is 1 where all vectors are the
same, n where they are orthogonal, and never more than they have dimensions. Ours: the eigenvalues are
those of the matrix of dimensions, X'X / n, which but for zeros are the same, where that is smaller.
"""

import math

import numpy as np
from numpy.typing import NDArray

from curate.core.fixedpoint import fixed_point

# Beyond these, a figure says which processor added it up.
DIGITS = 6


def vendi_score(vectors: NDArray[np.floating]) -> float:
    """Return the Vendi score of unit vectors [n, d], n at least 1."""
    count, width = vectors.shape
    exact = fixed_point(vectors)
    kernel = exact @ exact.T if count <= width else exact.T @ exact
    values = np.linalg.eigvalsh(kernel / count)
    shares = values[values > 0]
    entropy = -float(np.sum(shares * np.log(shares)))
    return float(f"{math.exp(entropy):.{DIGITS}g}")
