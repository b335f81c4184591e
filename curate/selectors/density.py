"""How densely other rows lie around a row, for rows near to a target example: what `knn_kde` divides by.

    density_i = sum over the rows j nearest to i of max(0, 1 - 2 (1 - cos(x_i, x_j)) / s^2)      s = 0.75

TSDS, 2024, arXiv:2410.11303: a kernel density of the representation's own vectors x, of rows that are
prefetched for an example, among each other. A row itself counts 1, a copy 1 more, and what is below a
cosine of 1 - s^2 / 2 = .72 nothing.

    x = (1, 0), (1, 0), (0, 1), (.8, .6): densities 2.29, 2.29, 1, 1.58

Prefetched are the rows most similar to each example, 5,000 or a tenth of the rows as published. Ours:
fewer of each where all of them together would take more than MOST_PRODUCTS multiplications, some
seconds, so that every method can store a density with its similarities; and several tasks have one
density, that of what all their examples prefetch.
"""

from collections.abc import Callable, Iterable

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted
from curate.core.fixedpoint import fixed_point
from curate.models.neighbours.cells import slices
from curate.selectors.rounds import RowNumbers, best_first
from curate.selectors.similarcolumns import similarity_columns

WIDTH = 0.75
DECIMALS = 6
# Of an example, and of those that make a row's density.
MOST_PREFETCHED, MOST_NEAR = 5_000, 1_000
SHARE = 10
MOST_PRODUCTS = 2.0**36
# The vectors of rows of a table of scores [n, d], by ascending row numbers.
VectorsOf = Callable[[RowNumbers], NDArray[np.floating]]


def with_density(
    table: Counted[pl.DataFrame], vectors_of: VectorsOf, width: int
) -> Counted[pl.DataFrame]:
    """Return a table of scores with the density of rows that are prefetched, null for others.

    Args:
        table: row_id, score, similarities.
        vectors_of: the representation.
        width: how many numbers a vector has.
    """
    scores = table.result
    scored = np.flatnonzero(scores["score"].is_not_null().to_numpy())
    column = np.full(scores.height, np.nan, dtype=np.float32)
    if len(scored):
        most = int((MOST_PRODUCTS / width) ** 0.5)
        scored = scored[scores["row_id"].gather(scored).arg_sort().to_numpy()]
        near = prefetched(similarity_columns(scores, scored), len(scored), most)
        rows = np.sort(scored[near])
        column[rows] = densities(vectors_of(rows), nearest=_tenth(len(scored), MOST_NEAR))
    return Counted(scores.with_columns(density=pl.Series(column).fill_nan(None)), table.counts)


def prefetched(similar: Iterable[NDArray[np.floating]], size: int, most: int) -> RowNumbers:
    """Return the rows most similar to the examples, as many for each, and no more than `most` in all.

    Args:
        similar: the similarities of each example [N].
        size: N.
        most: rows in all.
    """
    count = _tenth(size, MOST_PREFETCHED)
    # Copied, since a slice would hold on to an order of all rows for each example.
    best = np.stack([best_first(column)[:count].copy() for column in similar])
    while count > 1 and len(np.unique(best[:, :count])) > most:
        count //= 2
    return np.unique(best[:, :count])


def _tenth(rows: int, most: int) -> int:
    return max(1, min(most, rows // SHARE))


def densities(vectors: NDArray[np.floating], nearest: int) -> NDArray[np.float64]:
    """Return the density [n] of each row among vectors [n, d], by no more than its nearest ones."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    points = fixed_point(vectors / np.where(lengths > 0, lengths, 1))
    sums = np.empty(len(points))
    for part in slices(len(points), len(points)):
        kernel = np.maximum(0, 1 - 2 * (1 - points[part] @ points.T) / WIDTH**2)
        if nearest < len(points):
            kernel = np.partition(kernel, -nearest, axis=1)[:, -nearest:]
        sums[part] = kernel.sum(axis=1)
    return sums.round(DECIMALS)


def gather(blocks: Iterable[NDArray[np.floating]], rows: RowNumbers) -> NDArray[np.floating]:
    """Return the vectors of rows, by ascending numbers, from blocks that follow one another."""
    parts, start = [], 0
    for block in blocks:
        first, last = np.searchsorted(rows, [start, start + len(block)])
        parts.append(block[rows[first:last] - start])
        start += len(block)
    return np.concatenate(parts)
