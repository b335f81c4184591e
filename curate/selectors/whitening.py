"""Representations without what all rows have in common: centred, or whitened along main directions.

    z = (L_k + e)^(-1/2) V_k' (x - m),   e = 0.01 mean(L_k)

with m the mean of the pool's vectors x, V_k and L_k the k main directions of their covariance and the
variances along them. Cosines are then taken of z. Hidden states of a language model share a large
component that lifts all cosines; whitening also keeps a few loud directions from deciding (CRDS-W, 2026,
arXiv:2602.13773, which whitens 512 of 4,096 directions). The floor e, and whitening by the pool of the
run alone, are ours: small variances are noise, and dividing by them would make it loud.

The sums over the pool are exact, so blocks and threads change nothing: for the covariance, vectors are
rounded to multiples of 2^-16, whose products float64 adds up without loss for 2^21 rows.
"""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.fixedpoint import fixed_point
from curate.models.index import iter_kept_vectors

VERSION = 1
STEPS_PER_UNIT = 2.0**16
FLOOR = 0.01
# Further directions of a small pool are those of single rows.
ROWS_PER_DIRECTION = 10
WIDTH_PER_DIRECTION = 4


@cached(version=VERSION, name="index-basis")
def basis(
    kept: Table, measured: Table, blocks: Sequence[Table], directions: int
) -> NDArray[np.float64]:
    """Return the mean of the kept rows' vectors, and below it the scaled directions [1 + k, d].

    Args:
        kept: the rows that decide.
        measured: the rows of the blocks.
        blocks: unit vectors.
        directions: k; 0 centres only.

    Raises:
        UserError: there are too few rows or coordinates for so many directions.
    """
    mean, covariance, rows = moments(iter_kept_vectors(blocks, measured, kept))
    most = min(rows // ROWS_PER_DIRECTION, len(mean) // WIDTH_PER_DIRECTION)
    if directions > most:
        raise UserError(
            f"select.whiten: {directions} directions are too many for {rows:,} rows of {len(mean)} "
            f"coordinates, at most a tenth of the rows and a quarter of these; give {most} or fewer"
        )
    return np.vstack([mean, scaled_directions(covariance, directions)])


def moments(
    blocks: Iterable[NDArray[np.floating]],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return mean [d] and covariance [d, d] of finite vectors of length 1 at most, and their number."""
    total, coarse_total, products = np.zeros(()), np.zeros(()), np.zeros(())
    rows = 0
    for block in blocks:
        finite = block[np.isfinite(block).all(axis=1)].astype(np.float64)
        coarse = np.rint(finite * STEPS_PER_UNIT) / STEPS_PER_UNIT
        total = total + fixed_point(finite).sum(axis=0)
        coarse_total = coarse_total + coarse.sum(axis=0)
        products = products + coarse.T @ coarse
        rows += len(finite)
    return total / rows, products / rows - np.outer(coarse_total, coarse_total) / rows**2, rows


def scaled_directions(covariance: NDArray[np.float64], directions: int) -> NDArray[np.float64]:
    """Return the main directions [k, d], each divided by its deviation; the longest has length 1.

    The common factor that makes it so changes no cosine, and lets `transform` be exact.
    """
    if directions == 0:
        return np.empty((0, len(covariance)))
    with threadpool_limits(1):
        variances, vectors = np.linalg.eigh(covariance)
    variances = np.maximum(variances[::-1][:directions], 0)
    scales = 1 / np.sqrt(variances + FLOOR * variances.mean())
    scaled: NDArray[np.float64] = vectors.T[::-1][:directions] * (scales / scales.max())[:, None]
    return scaled


def transform(vectors: NDArray[np.floating], basis: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return centred or whitened vectors at unit length [n, k or d]; what is the mean itself stays 0.

    Args:
        vectors: of length 1 at most.
        basis: see there.
    """
    # Half of a difference of two vectors is no longer than 1, as fixed points must be.
    moved = fixed_point((vectors - basis[0]) / 2)
    coordinates = moved @ fixed_point(basis[1:]).T if len(basis) > 1 else moved
    lengths = np.sqrt(np.einsum("ij,ij->i", coordinates, coordinates))
    unit: NDArray[np.float64] = coordinates / np.where(lengths > 0, lengths, 1)[:, None]
    return unit


def transformed(
    blocks: Iterable[NDArray[np.float32]], basis: Table | None
) -> Iterator[NDArray[np.floating]]:
    """Yield blocks of vectors as they are, or by a basis."""
    rows = None if basis is None else basis.array()
    for block in blocks:
        yield block if rows is None else transform(block, rows)
