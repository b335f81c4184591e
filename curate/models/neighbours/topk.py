"""The best columns of each row of a block of cosines: proposed roughly, decided exactly."""

import numpy as np
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines, cosines_of_pairs

Vectors = NDArray[np.float32]
Rows = NDArray[np.int64]
Cosines = NDArray[np.float64]

# Twice what a cosine of unit vectors errs in float32, and what rounding to DECIMALS moves it.
ROUNDING = 1.2e-5
DECIMALS = 6
# From this share of candidates on, a block of exact products is faster than one for each of them.
DENSE_SHARE = 0.02


def top_columns(near: Cosines, count: int) -> tuple[Rows, Cosines]:
    """Return columns and values [n, count] of the largest of each row, of equals the first."""
    edge = np.partition(near, -count, axis=1)[:, -count, None]
    row, column = np.divmod(np.flatnonzero(near >= edge), near.shape[1])
    return _best_of_rows(row, column, near[row, column], (len(near), count))


def top_cosines(one: Vectors, other: Vectors, count: int, *, rounded: bool) -> tuple[Rows, Cosines]:
    """Return numbers and exact cosines [n, count] of the rows of `other` nearest to each of `one`.

    Nearest first; of equally near ones the first. Products in float32 propose somewhat more rows, exact
    ones decide.

    Args:
        one: unit or shorter vectors [n, d].
        other: unit or shorter vectors [m, d].
        count: at most m.
        rounded: whether cosines that are equal to six decimals are equally near.
    """
    rough = one @ other.T
    edge = np.partition(rough, -count, axis=1)[:, -count, None] - np.float32(ROUNDING)
    row, column = np.divmod(np.flatnonzero(rough >= edge), len(other))
    cosine = exact_cosines(one, row, other, column)
    if rounded:
        cosine = np.round(cosine, DECIMALS)
    return _best_of_rows(row, column, cosine, (len(one), count))


def exact_cosines(one: Vectors, row: Rows, other: Vectors, column: Rows) -> Cosines:
    """Return the exact cosines [P] of pairs from a block; all of its products where these are many."""
    if len(row) > DENSE_SHARE * len(one) * len(other):
        return cosines(one, other)[row, column]
    return cosines_of_pairs(one, row, other, column)


def _best_of_rows(
    row: Rows, column: Rows, value: Cosines, shape: tuple[int, int]
) -> tuple[Rows, Cosines]:
    """Return columns and values [n, count] of each row's best pairs; each has so many at least."""
    order = np.lexsort((column, -value, row))
    sizes = np.bincount(row, minlength=shape[0])
    place = np.arange(len(row)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    chosen = order[place < shape[1]].reshape(shape)
    return column[chosen], value[chosen]
