"""All pairs of unit vectors whose cosine reaches a floor, without a matrix of all with all.

Large sets are cut into cells around centres, as SemDeDup does (Abbas et al. 2023, arXiv:2303.09540,
section 3), but no pair that spans two cells is lost. Let x lie in the cell of centre a, so a.x >= c.x
for every centre c, and at an angle of h to the plane that parts the cells of a and c:

    sin h = (a.x - c.x) / |a - c|

A twin y of x behind that plane is h(x) + h(y) away at least. So with cos(x, y) >= cos(t), one of the
two is within t / 2 of the plane: comparing each row with the cells whose plane is within t / 2 of
it finds every pair, from one side or the other. Centres decide how fast that is, not what is found.

Products in float32 propose pairs, a little below the floor too; exact ones decide (core.fixedpoint):
neither threads nor processors nor the cut into cells show in the result.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines, cosines_of_pairs

# Up to here one matrix product with all later rows is faster than cells.
BRUTE_ROWS = 8_192
# Beyond this share of all comparisons too. Comparing with later rows alone is half of them.
BRUTE_SHARE = 0.4
SHARE_ROWS = 1_000
# A block of cosines is 16 MB, or 32 where they are exact; the hits in it, at worst, some 100 MB.
BLOCK_COSINES = 4_194_304
CELLS_PER_ROOT = 4
CELLS_AT_A_TIME = 64
SAMPLE_PER_CELL = 32
ROUNDS = 2
# Larger than the rounding of a cosine of unit vectors.
ROUNDING = 1e-5
# From this share of hits on, a block of exact products is faster than one for each of them.
DENSE_SHARE = 0.02
MOST = 1_000
LIMIT = 20_000_000


@dataclass(frozen=True)
class Neighbours:
    """Pairs of row numbers, first < second, in order, with their cosine to six decimals.

    `most` is how many later rows a row was allowed at last, `capped` how many rows had more.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosine: NDArray[np.float64]
    most: int
    capped: int


def find_pairs(
    vectors: NDArray[np.float32],
    groups: NDArray[np.int64],
    floor: float,
    *,
    most: int = MOST,
    limit: int = LIMIT,
) -> Neighbours:
    """Return every pair of rows of the same group whose cosine is at least the floor.

    A dense cloud of n rows has n^2 / 2 pairs. Each row keeps its `most` best later rows; should more
    than `limit` pairs remain, `most` is halved until they fit.

    Args:
        vectors: unit or zero vectors [N, d]; zero ones are in no pair.
        groups: of each row [N]; rows with a negative one are in no pair.
        floor: above 0, at most 1.
        most: pairs with later rows that each row may keep.
        limit: pairs that may be kept in all; twice as many are held for a while.
    """
    collector = _PairCollector(len(vectors), most, limit)
    # Cosines are rounded to six decimals, and those that become the floor count.
    floor -= 5e-7
    order = np.argsort(groups, kind="stable")
    nonzero: NDArray[np.bool_] = np.einsum("ij,ij->i", vectors, vectors) > 0
    order = order[(groups[order] >= 0) & nonzero[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(rows) > BRUTE_ROWS:
            _search_cells(vectors, rows, floor, collector)
        elif len(rows) > 1:
            _search_within(vectors[rows], rows, floor, collector)
    return collector.close()


def _search_within(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], floor: float, collector: "_PairCollector"
) -> None:
    """Add the pairs among rows in pool order: each block with itself and what comes after it."""
    for part in _slices(len(vectors), len(vectors)):
        row, column, cosine = _near(vectors[part], vectors[part.start :], floor, later=True)
        for crowded in np.flatnonzero(np.bincount(row, minlength=1) > collector.most):
            own = np.flatnonzero(row == crowded)
            worse = own[np.argsort(-cosine[own], kind="stable")[collector.most :]]
            near = np.ones(len(row), dtype=np.bool_)
            near[worse] = False
            row, column, cosine = row[near], column[near], cosine[near]
            collector.capped[rows[part.start + crowded]] = True
        collector.add(rows[part][row], rows[part.start :][column], cosine)


def _near(
    one: NDArray[np.float32], other: NDArray[np.float32], floor: float, *, later: bool = False
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
    """Return the pairs of a row of `one` and a row of `other` from the floor on, with their cosines.

    Args:
        one: vectors [n, d].
        other: vectors [m, d].
        floor: of the exact cosine.
        later: only rows of `other` that come after; `one` is its beginning.
    """
    near = one @ other.T >= np.float32(floor - ROUNDING)
    if later:
        near[np.tri(*near.shape, dtype=np.bool_)] = False
    row, column = np.divmod(np.flatnonzero(near), len(other))
    if len(row) > DENSE_SHARE * near.size:
        cosine = cosines(one, other)[row, column]
    else:
        cosine = cosines_of_pairs(one, row, other, column)
    reached = cosine >= floor
    return row[reached], column[reached], cosine[reached]


def _search_cells(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], floor: float, collector: "_PairCollector"
) -> None:
    """Add the pairs among many rows, cell by cell, or all with all where cells are no help."""
    vectors = vectors[rows]
    centres = find_centres(vectors)
    own = _nearest_centre(vectors, centres)
    probes = _CellProbes(vectors, own, centres, floor)
    if probes.share() > BRUTE_SHARE:
        _search_within(vectors, rows, floor, collector)
        return
    order = np.argsort(own, kind="stable")
    inside = np.split(order, np.searchsorted(own[order], np.arange(1, len(centres))))
    for cell, outside_rows in probes.outside_rows():
        if not len(inside[cell]):
            continue
        members, names = vectors[inside[cell]], rows[inside[cell]]
        _search_within(members, names, floor, collector)
        for part in _slices(len(outside_rows), len(names)):
            row, column, cosine = _near(vectors[outside_rows[part]], members, floor)
            collector.add(rows[outside_rows[part]][row], names[column], cosine)


def _slices(count: int, width: int) -> Iterator[slice]:
    """Yield slices of `count` rows so that each has a block of cosines with `width` others."""
    size = max(BLOCK_COSINES // width, 1)
    yield from (slice(at, min(at + size, count)) for at in range(0, count, size))


def find_centres(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return unit centres [k, d] of spherical k-means on a sample."""
    count = int(CELLS_PER_ROOT * len(vectors) ** 0.5)
    drawn = np.random.default_rng(0).permutation(len(vectors))[: count * SAMPLE_PER_CELL]
    sample = vectors[drawn]
    centres: NDArray[np.float32] = sample[:count]
    for _ in range(ROUNDS):
        own = _nearest_centre(sample, centres)
        order = np.argsort(own, kind="stable")
        starts = np.flatnonzero(np.diff(own[order], prepend=-1))
        sums = np.add.reduceat(sample[order], starts, axis=0)
        lengths = np.linalg.norm(sums, axis=1)
        nonzero = lengths > ROUNDING
        centres = (sums[nonzero] / lengths[nonzero, None]).astype(np.float32)
    return centres


def _nearest_centre(
    vectors: NDArray[np.float32], centres: NDArray[np.float32]
) -> NDArray[np.int64]:
    nearest = np.empty(len(vectors), dtype=np.int64)
    for part in _slices(len(vectors), len(centres)):
        nearest[part] = (vectors[part] @ centres.T).argmax(axis=1)
    return nearest


class _CellProbes:
    """Which rows have to be compared with which cells other than their own."""

    def __init__(
        self,
        vectors: NDArray[np.float32],
        own: NDArray[np.int64],
        centres: NDArray[np.float32],
        floor: float,
    ) -> None:
        self.vectors, self.own, self.centres = vectors, own, centres
        apart = np.sqrt(np.maximum(2 - 2 * centres @ centres.T, 0))
        self.reach = np.sin(np.arccos(min(floor, 1.0)) / 2).astype(np.float32) * apart + ROUNDING
        self.nearest = np.empty(len(vectors), dtype=np.float32)
        for part in _slices(len(vectors), vectors.shape[1]):
            self.nearest[part] = np.einsum("ij,ij->i", vectors[part], centres[own[part]])

    def of(self, cells: slice, rows: slice) -> NDArray[np.bool_]:
        """Return [cells, rows]: whether a row of another cell is compared with the cell."""
        behind = self.nearest[rows] - self.centres[cells] @ self.vectors[rows].T
        near: NDArray[np.bool_] = behind <= self.reach[cells][:, self.own[rows]]
        near &= np.arange(len(self.centres))[cells, None] != self.own[rows]
        return near

    def outside_rows(self) -> Iterator[tuple[int, NDArray[np.int64]]]:
        """Yield each cell and the rows of other cells that are compared with it."""
        for start in range(0, len(self.centres), CELLS_AT_A_TIME):
            cells = slice(start, min(start + CELLS_AT_A_TIME, len(self.centres)))
            parts = [
                [np.flatnonzero(row) + part.start for row in self.of(cells, part)]
                for part in _slices(len(self.vectors), CELLS_AT_A_TIME)
            ]
            for i, cell in enumerate(range(cells.start, cells.stop)):
                yield cell, np.concatenate([part[i] for part in parts])

    def share(self) -> float:
        """Return the share of all comparisons that the probes need, from some of the rows."""
        sizes = np.bincount(self.own, minlength=len(self.centres))
        some = slice(0, None, max(len(self.vectors) // SHARE_ROWS, 1))
        near = self.of(slice(0, len(self.centres)), some)
        return float((sizes @ near).mean() / len(self.vectors))


class _PairCollector:
    """Collects pairs of rows: some of them twice, never many more than twice the limit."""

    def __init__(self, rows: int, most: int, limit: int) -> None:
        self.rows, self.most, self.limit = rows, most, limit
        self.capped = np.zeros(rows, dtype=np.bool_)
        self.parts: list[tuple[NDArray[np.int64], NDArray[np.float64]]] = []
        self.pair_count = 0

    def add(
        self,
        one: NDArray[np.int64],
        other: NDArray[np.int64],
        cosine: NDArray[np.float64],
    ) -> None:
        """Add pairs of rows, one for each cosine."""
        if not len(cosine):
            return
        pairs = np.minimum(one, other) * self.rows + np.maximum(one, other)
        self.parts.append((pairs, cosine))
        self.pair_count += len(pairs)
        if self.pair_count > 2 * self.limit:
            self._compact()
            while self.pair_count > self.limit:
                self.most //= 2
                self._compact()

    def _compact(self) -> None:
        """Sort the pairs, drop what was added twice, and of each row what is beyond its best."""
        none = (np.empty(0, dtype=np.int64), np.empty(0))
        pairs, cosine = (np.concatenate(p) for p in zip(none, *self.parts, strict=True))
        order = np.argsort(pairs, kind="stable")
        pairs, cosine = pairs[order], cosine[order]
        new = np.diff(pairs, prepend=-1) > 0
        pairs, cosine = pairs[new], cosine[new]
        first = pairs // self.rows
        counts = np.bincount(first, minlength=self.rows)
        over = counts > self.most
        if over.any():
            self.capped |= over
            crowded = np.flatnonzero(over[first])
            ranked = crowded[np.lexsort((-cosine[crowded], first[crowded]))]
            starts = np.repeat(np.cumsum(counts[over]) - counts[over], counts[over])
            worse = ranked[np.arange(len(ranked)) - starts >= self.most]
            pairs, cosine = np.delete(pairs, worse), np.delete(cosine, worse)
        self.parts, self.pair_count = [(pairs, cosine)], len(pairs)

    def close(self) -> Neighbours:
        self._compact()
        while self.pair_count > self.limit:
            self.most //= 2
            self._compact()
        pairs, cosine = self.parts[0]
        first, second = np.divmod(pairs, max(self.rows, 1))
        rounded = np.minimum(np.round(cosine, 6), 1.0)
        return Neighbours(first, second, rounded, self.most, int(self.capped.sum()))
