"""The nearest rows to queries, and of every row of a set the nearest others."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.models.neighbours.cells import slices
from curate.models.neighbours.inverted import faiss_kernels, measure_recall, search_inverted
from curate.models.neighbours.topk import Cosines, Rows, Vectors, top_cosines

EXACT_ROWS = 65_536


def nearest(
    queries: Vectors,
    blocks: Iterable[Vectors],
    count: int,
    *,
    rounded: bool = True,
    places: Rows | None = None,
) -> tuple[Rows, Cosines]:
    """Return the numbers of the rows nearest to each query, best first, and their cosines [Q, k].

    Of equally near rows the one with the smaller number comes first.

    Args:
        queries: [Q, d]; unit vectors give cosines, the mean of unit vectors the mean of cosines.
        blocks: unit or zero vectors [n, d], block after block; no more than one is held.
        count: how many for each query; k is less where there are fewer rows.
        rounded: cosines are those to six decimals, by which equal texts are equally near in any block.
        places: the number of each row [N], one after the other in the order of the blocks if None.
    """
    numbers = np.empty((len(queries), 0), dtype=np.int64)
    cosines = np.empty((len(queries), 0))
    for block, own in _numbered(blocks, len(queries), places):
        column, cosine = top_cosines(queries, block, min(count, len(block)), rounded=rounded)
        numbers = np.concatenate([numbers, own[column]], axis=1)
        cosines = np.concatenate([cosines, cosine], axis=1)
        order = np.lexsort((numbers, -cosines))[:, :count]
        numbers = np.take_along_axis(numbers, order, axis=1)
        cosines = np.take_along_axis(cosines, order, axis=1)
    return numbers, cosines


def _numbered(
    blocks: Iterable[Vectors], width: int, places: Rows | None
) -> Iterator[tuple[Vectors, Rows]]:
    """Yield vectors and their numbers, ascending: so many as have a block of cosines with `width`."""
    start = 0
    for block in blocks:
        for part in slices(len(block), max(width, 1)):
            numbers = np.arange(start + part.start, start + part.stop)
            if places is None:
                yield block[part], numbers
                continue
            order = np.argsort(places[numbers])
            yield block[part][order], places[numbers][order]
        start += len(block)


@dataclass(frozen=True)
class NearestRows:
    """Numbers and cosines [N, count] of each row's nearest ones, itself among them.

    A number is -1 where none was found. `recall` is the share of the true nearest rows that were,
    measured on a sample; None where the search is exact.
    """

    numbers: Rows
    cosines: Vectors
    recall: float | None = None

    @property
    def counts(self) -> dict[str, float]:
        """Return the recall as a step counts it."""
        return {} if self.recall is None else {"recall": self.recall}


def nearest_rows(vectors: Vectors, count: int) -> NearestRows:
    """Return the nearest rows of each row.

    Args:
        vectors: unit or zero vectors [N, d].
        count: of rows, the row itself among them; N at most.
    """
    if len(vectors) > EXACT_ROWS:
        numbers, values = search_inverted(vectors, count)
        return NearestRows(numbers, values, measure_recall(vectors, numbers))
    rows = np.empty((len(vectors), count), dtype=np.int64)
    cosines: NDArray[np.float32] = np.empty((len(vectors), count), dtype=np.float32)
    for part in slices(len(vectors), max(len(vectors), 1)):
        rows[part], cosines[part] = top_cosines(vectors[part], vectors, count, rounded=False)
    return NearestRows(rows, cosines)


def search_identity(rows: int) -> dict[str, str]:
    """Return what a search among so many rows computes with, as far as it can change the result."""
    return {} if rows <= EXACT_ROWS else {"kernels": faiss_kernels()}
