"""KNN-KDE of TSDS: the mass of each target example on its nearest rows, less where rows lie densely.

TSDS, 2024, arXiv:2410.11303. Each of M examples spreads its mass of 1/M over its k nearest rows, each in
proportion to 1 / density (curate.selectors.density), so that a cloud of copies has the mass of one row.
Rows are taken into account, over all examples together, in the order of

    s[q, k] = sum of 1 / density over the k nearest of q

while spreading further costs less than the diversity is worth, which the last s settles:

    (a / C) sum of s[q, k] (d[q, k+1] - d[q, k]) < (1 - a) M       d = 1 - S, sorted for each example
    p_i = sum over the q that took i of 1 / (M s density_i), and what is left to the next row of q

    one example, d = .1, .2, .9 and densities 2, 2, 1: s = .5, 1; taken at s = 1 the first has .5, and
    the next one the other half

Published: rows are drawn from p. As the comparison of arXiv:2602.14696 does, here they are ranked by it.
Ours: among equals the more similar row comes first, not the one that stands first in a file; and the
sweep ends where an example runs out of rows with a density, or that last row would get all it has left.
"""

import numpy as np
from numpy.typing import NDArray

from curate.selectors.rounds import best_first

# Masses that differ by rounding alone are equal.
DECIMALS = 14


def transport_mass(
    similar: NDArray[np.floating], density: NDArray[np.floating], worth: float
) -> NDArray[np.float64]:
    """Return the mass [N] of each row; they sum to 1.

    Args:
        similar: [N, M].
        density: of each row [N], NaN where there is none.
        worth: (1 - a) M C / a, the cost at which spreading ends.
    """
    near = nearest_dense(similar, density)
    weights = 1 / density[near].astype(np.float64)
    distances = 1 - np.take_along_axis(similar.T, near, axis=1).astype(np.float64)
    sums = np.cumsum(weights[:, :-1], axis=1)
    level, taken = _sweep(sums, sums * np.diff(distances, axis=1), worth)
    examples = np.arange(len(near))
    reached = np.insert(sums, 0, 0, axis=1)[examples, taken]
    shares = np.where(np.arange(near.shape[1]) < taken[:, None], weights / level, 0.0)
    shares[examples, taken] = 1 - reached / level
    mass = np.zeros(len(similar))
    np.add.at(mass, near, shares / len(near))
    return mass.round(DECIMALS)


def nearest_dense(
    similar: NDArray[np.floating], density: NDArray[np.floating]
) -> NDArray[np.int64]:
    """Return the nearest rows [M, K] of each example, as many as all have before one without density."""
    lacking = np.isnan(density)
    most = int((~lacking).sum())
    ranked = np.stack([best_first(column)[: most + 1] for column in similar.T])
    gaps = np.append(lacking[ranked], np.ones((len(ranked), 1), dtype=np.bool_), axis=1)
    return ranked[:, : max(1, int(gaps.argmax(axis=1).min()))]


def _sweep(
    sums: NDArray[np.float64], rises: NDArray[np.float64], worth: float
) -> tuple[float, NDArray[np.int64]]:
    """Return the level s at which spreading ends, and how many rows each example has taken before.

    Args:
        sums: s [M, K], of each example ascending.
        rises: what it costs each example to go on from there to its next row.
        worth: what all may cost together.
    """
    examples, most = sums.shape
    if not most:
        return np.inf, np.zeros(examples, dtype=np.int64)
    # Examples take turns by s, of equals the one that is less far.
    numbers = np.indices(sums.shape)
    order = np.lexsort((numbers[0].ravel(), numbers[1].ravel(), sums.ravel()))
    costs = np.cumsum(rises.ravel()[order])
    last = np.flatnonzero(order % most == most - 1)[0]
    end = min(int(np.searchsorted(costs, worth)), int(last))
    taken = np.bincount(order[:end] // most, minlength=examples)
    return float(sums.ravel()[order[end]]), taken
