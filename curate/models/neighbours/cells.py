"""Cells around centres: sets of vectors that are near to one another, and which rows visit which."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines, fixed_point
from curate.models.neighbours.stacked import AnyVectors
from curate.models.neighbours.topk import Rows, Vectors, top_columns

# A block of cosines is 16 MB, or 32 where they are exact; the hits in it, at worst, some 100 MB.
BLOCK_COSINES = 4_194_304
CELLS_PER_ROOT = 4
CELLS_AT_A_TIME = 64
SAMPLE_PER_CELL = 32
ROUNDS = 2
SHARE_ROWS = 1_000
# Larger than the rounding of a cosine of unit vectors.
ROUNDING = 1e-5
# Cells that a row visits, its own among them, where not all pairs are looked for.
VISITED = 16


class Visits(Protocol):
    """Which rows are compared with which cells other than their own."""

    @property
    def own(self) -> Rows:
        """Return each row's own cell [N]."""

    def outside_rows(self) -> Iterator[tuple[int, Rows]]:
        """Yield each cell and the rows of other cells that are compared with it."""


def slices(count: int, width: int) -> Iterator[slice]:
    """Yield slices of `count` rows so that each has a block of cosines with `width` others."""
    size = max(BLOCK_COSINES // width, 1)
    yield from (slice(at, min(at + size, count)) for at in range(0, count, size))


def find_centres(vectors: AnyVectors) -> Vectors:
    """Return unit centres [k, d] of spherical k-means on a sample: the same bits on every machine."""
    count = int(CELLS_PER_ROOT * len(vectors) ** 0.5)
    drawn = np.random.default_rng(0).permutation(len(vectors))[: count * SAMPLE_PER_CELL]
    sample = fixed_point(vectors[drawn])
    centres: Vectors = sample[:count].astype(np.float32)
    for _ in range(ROUNDS):
        own = _nearest_exactly(sample, centres)
        order = np.argsort(own, kind="stable")
        starts = np.flatnonzero(np.diff(own[order], prepend=-1))
        sums = np.add.reduceat(sample[order], starts, axis=0)
        # No sum on the way is rounded, so neither is what the lengths are the roots of.
        means = fixed_point(sums / np.diff(starts, append=len(order))[:, None])
        lengths = np.sqrt(np.einsum("ij,ij->i", means, means))
        nonzero = lengths > ROUNDING
        centres = (means[nonzero] / lengths[nonzero, None]).astype(np.float32)
    return centres


def _nearest_exactly(sample: NDArray[np.float64], centres: Vectors) -> Rows:
    parts = slices(len(sample), 2 * len(centres))
    return np.concatenate([cosines(sample[part], centres).argmax(axis=1) for part in parts])


def nearest_centre(vectors: Vectors, centres: Vectors) -> Rows:
    """Return the number of the centre nearest to each row [N], of equals the first."""
    nearest = np.empty(len(vectors), dtype=np.int64)
    for part in slices(len(vectors), len(centres)):
        nearest[part] = (vectors[part] @ centres.T).argmax(axis=1)
    return nearest


class EveryNearCell:
    """The cells in which a row may have a pair from a floor on: no pair is lost.

    Let x lie in the cell of centre a, so a.x >= c.x for every centre c, and at an angle of h to the
    plane that parts the cells of a and c:

        sin h = (a.x - c.x) / |a - c|

    A twin y of x behind that plane is h(x) + h(y) away at least. So with cos(x, y) >= cos(t), one of the
    two is within t / 2 of the plane: comparing each row with the cells whose plane is within t / 2 of
    it finds every pair, from one side or the other. Centres decide how fast that is, not what is found.
    """

    def __init__(self, vectors: Vectors, centres: Vectors, floor: float) -> None:
        self.vectors, self.centres = vectors, centres
        self.own = own = nearest_centre(vectors, centres)
        apart = np.sqrt(np.maximum(2 - 2 * centres @ centres.T, 0))
        self.reach = np.sin(np.arccos(min(floor, 1.0)) / 2).astype(np.float32) * apart + ROUNDING
        self.nearest = np.empty(len(vectors), dtype=np.float32)
        for part in slices(len(vectors), vectors.shape[1]):
            self.nearest[part] = np.einsum("ij,ij->i", vectors[part], centres[own[part]])

    def of(self, cells: slice, rows: slice) -> NDArray[np.bool_]:
        """Return [cells, rows]: whether a row of another cell is compared with the cell."""
        behind = self.nearest[rows] - self.centres[cells] @ self.vectors[rows].T
        near: NDArray[np.bool_] = behind <= self.reach[cells][:, self.own[rows]]
        near &= np.arange(len(self.centres))[cells, None] != self.own[rows]
        return near

    def outside_rows(self) -> Iterator[tuple[int, Rows]]:
        """Yield each cell and the rows of other cells that are compared with it."""
        for start in range(0, len(self.centres), CELLS_AT_A_TIME):
            cells = slice(start, min(start + CELLS_AT_A_TIME, len(self.centres)))
            parts = [
                [np.flatnonzero(row) + part.start for row in self.of(cells, part)]
                for part in slices(len(self.vectors), CELLS_AT_A_TIME)
            ]
            for i, cell in enumerate(range(cells.start, cells.stop)):
                yield cell, np.concatenate([part[i] for part in parts])

    def share(self) -> float:
        """Return the share of all comparisons that the visits need, from some of the rows."""
        sizes = np.bincount(self.own, minlength=len(self.centres))
        some = slice(0, None, max(len(self.vectors) // SHARE_ROWS, 1))
        near = self.of(slice(0, len(self.centres)), some)
        return float((sizes @ near).mean() / len(self.vectors))


@dataclass(frozen=True)
class NearestCells:
    """The few cells nearest to each row [N, VISITED], its own first; exact products rank them."""

    visited: NDArray[np.int32]
    cells: int

    @property
    def own(self) -> Rows:
        """Return each row's own cell [N]."""
        return self.visited[:, 0].astype(np.int64)

    def outside_rows(self) -> Iterator[tuple[int, Rows]]:
        """Yield each cell and the rows of other cells that visit it."""
        others = self.visited[:, 1:]
        order = np.argsort(others, axis=None, kind="stable")
        rows = order // max(others.shape[1], 1)
        ends = np.cumsum(np.bincount(others.ravel(), minlength=self.cells))
        yield from enumerate(np.split(rows, ends[:-1]))

    def meet(self, one: Rows, other: Rows) -> NDArray[np.bool_]:
        """Return which pairs of rows are compared: one of the two visits the other's cell."""
        forth = (self.visited[one] == self.visited[other, :1]).any(axis=1)
        back = (self.visited[other] == self.visited[one, :1]).any(axis=1)
        both: NDArray[np.bool_] = forth | back
        return both


def visit_nearest(vectors: AnyVectors, centres: Vectors) -> NearestCells:
    """Return the cells that each row visits; equally near centres come in their order."""
    count = min(VISITED, len(centres))
    visited = np.empty((len(vectors), count), dtype=np.int32)
    for part in slices(len(vectors), 2 * len(centres)):
        visited[part], _ = top_columns(cosines(vectors[part], centres), count)
    return NearestCells(visited, len(centres))
