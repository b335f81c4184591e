"""Jaccard similarity of sets of n-grams, from a sparse matrix of which text holds which."""

from collections.abc import Iterable

import numpy as np
import scipy
from numpy.typing import NDArray

from curate.text.shingles import Shingles


def incidence(parts: Iterable[Shingles], texts: int) -> "scipy.sparse.csr_array":
    """Return which n-grams texts hold: 1 where text i has the one with that hash.

    Args:
        parts: the texts' n-grams, in their order.
        texts: how many texts there are.
    """
    columns, counts = [np.empty(0, dtype=np.int64)], [np.zeros(1, dtype=np.int64)]
    for shingles in parts:
        if len(shingles.hashes):
            # The hash itself is the column: 63 of its bits make the widest matrix of scipy.
            columns.append((shingles.hashes >> np.uint64(1)).astype(np.int64))
            counts.append(np.diff(shingles.starts))
    ones = np.ones(sum(map(len, columns)), dtype=np.int32)
    starts = np.cumsum(np.concatenate(counts))
    shape = (texts, np.iinfo(np.int64).max)
    matrix = scipy.sparse.csr_array((ones, np.concatenate(columns), starts), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def shared_grams(
    sets: "scipy.sparse.csr_array", left: NDArray[np.int64], right: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return how many n-grams the texts of each pair share."""
    both: NDArray[np.int64] = sets[left].multiply(sets[right]).sum(axis=1)
    return both


def jaccard(
    sets: "scipy.sparse.csr_array",
    left: NDArray[np.int64],
    right: NDArray[np.int64],
    shared: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Return the Jaccard similarity of pairs of texts.

    Args:
        sets: which n-grams each text holds.
        left: of each pair one text.
        right: the other.
        shared: how many n-grams they share.
    """
    sizes = np.diff(sets.indptr)
    ratio: NDArray[np.float64] = shared / np.maximum(sizes[left] + sizes[right] - shared, 1)
    return ratio
