"""Unit vectors in fixed point: their products are exact, so nothing that computes them can matter.

A sum of floating-point products depends on its order, and so on the number of threads, the vector units
of the processor and the build of the BLAS library. Rounded to multiples of 2^-26, the coordinates of two
unit vectors x and y have products that are multiples of 2^-52, and no partial sum exceeds

    sum |x_i y_i| <= |x| |y| = 1

so every sum on the way is a multiple of 2^-52 below 2 and has a float64 of its own (53 bits): nothing is
rounded, and the bits are the same on every machine. That moves a
cosine by about 1e-8, less than float32 products err.
"""

import numpy as np
from numpy.typing import NDArray

STEPS_PER_UNIT = 2.0**26
PAIRS_AT_A_TIME = 16_384


def fixed_point(vectors: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return vectors of length 1 at most whose products with one another are exact.

    Args:
        vectors: [..., d], unit or shorter.
    """
    scaled: NDArray[np.float64] = np.multiply(vectors, STEPS_PER_UNIT, dtype=np.float64)
    np.rint(scaled, out=scaled)
    scaled /= STEPS_PER_UNIT
    return scaled


def cosines(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the exact products [N, M] of unit or shorter vectors [N, d] and [M, d]."""
    products: NDArray[np.float64] = fixed_point(one) @ fixed_point(other).T
    return products


def paired_cosines(one: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the exact products [N] of unit or shorter vectors, row by row."""
    products: NDArray[np.float64] = np.einsum("ij,ij->i", fixed_point(one), fixed_point(other))
    return products


def cosines_of_pairs(
    one: NDArray[np.floating],
    rows: NDArray[np.int64],
    other: NDArray[np.floating],
    columns: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the exact products [P] of one[rows] and other[columns], without all of these at once."""
    products = np.empty(len(rows))
    for at in range(0, len(rows), PAIRS_AT_A_TIME):
        part = slice(at, at + PAIRS_AT_A_TIME)
        products[part] = paired_cosines(one[rows[part]], other[columns[part]])
    return products
