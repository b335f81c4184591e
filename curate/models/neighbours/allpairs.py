"""All pairs of unit vectors whose cosine reaches a floor, without a matrix of all with all.

Large sets are cut into cells around centres, as SemDeDup does (Abbas et al. 2023, arXiv:2303.09540,
section 3), but up to `exact_rows` no pair that spans two cells is lost (cells.EveryNearCell). Beyond,
each row is compared with the rows of the nearest cells alone, and the share of the true pairs that meet
that way is measured on a sample of rows.

Products in float32 propose pairs, a little below the floor too; exact ones decide (core.fixedpoint):
neither threads nor processors nor the cut into cells that lose nothing show in the result.
"""

import numpy as np
from numpy.typing import NDArray

from curate.models.neighbours.cells import (
    ROUNDING,
    EveryNearCell,
    NearestCells,
    Visits,
    find_centres,
    slices,
    visit_nearest,
)
from curate.models.neighbours.paircollector import Neighbours, PairCollector
from curate.models.neighbours.stacked import AnyVectors, SelectedVectors
from curate.models.neighbours.topk import Cosines, Rows, Vectors, exact_cosines

# Up to here one matrix product with all later rows is faster than cells.
BRUTE_ROWS = 8_192
# Beyond this share of all comparisons too. Comparing with later rows alone is half of them.
BRUTE_SHARE = 0.4
EXACT_ROWS = 1_000_000
SAMPLED_ROWS = 512
MOST = 1_000
LIMIT = 20_000_000


def find_pairs(
    vectors: AnyVectors,
    groups: Rows,
    floor: float,
    *,
    most: int = MOST,
    limit: int = LIMIT,
    exact_rows: int = EXACT_ROWS,
) -> Neighbours:
    """Return the pairs of rows of the same group whose cosine is at least the floor.

    A dense cloud of n rows has n^2 / 2 pairs. Each row keeps its `most` best later rows; should more
    than `limit` pairs remain, `most` is halved until they fit.

    Args:
        vectors: unit or zero vectors [N, d]; zero ones are in no pair. Of a group beyond exact_rows no
            more than a sample and some cells are in memory.
        groups: of each row [N]; rows with a negative one are in no pair.
        floor: above 0, at most 1.
        most: pairs with later rows that each row may keep.
        limit: pairs that may be kept in all; twice as many are held for a while.
        exact_rows: of a group of more rows, pairs of near cells alone are found.
    """
    collector, recall = PairCollector(len(vectors), most, limit), _Recall()
    # Cosines are rounded to six decimals, and those that become the floor count.
    floor -= 5e-7
    order = np.argsort(groups, kind="stable")
    nonzero = _nonzero(vectors)
    order = order[(groups[order] >= 0) & nonzero[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        if len(rows) > max(exact_rows, 1):
            own = SelectedVectors(vectors, rows)
            visits = visit_nearest(own, find_centres(own))
            recall.measure(own, visits, floor)
            _search_visits(own, rows, floor, collector, visits)
        elif len(rows) > BRUTE_ROWS:
            _search_cells(vectors[rows], rows, floor, collector)
        elif len(rows) > 1:
            _search_within(vectors[rows], rows, floor, collector)
    return collector.close(recall.share())


def _nonzero(vectors: AnyVectors) -> NDArray[np.bool_]:
    """Return which vectors [N] have a length."""
    nonzero = np.empty(len(vectors), dtype=np.bool_)
    for part in slices(len(vectors), max(vectors.shape[1], 1)):
        own = vectors[part]
        nonzero[part] = np.einsum("ij,ij->i", own, own) > 0
    return nonzero


class _Recall:
    """The share of true pairs that nearest cells find, over the groups in which they were used."""

    def __init__(self) -> None:
        self.pairs = self.met = self.groups = 0

    def measure(self, vectors: AnyVectors, visits: NearestCells, floor: float) -> None:
        """Compare some rows of a group with all of it."""
        self.groups += 1
        some = np.random.default_rng(1).permutation(len(vectors))[:SAMPLED_ROWS]
        sample = vectors[some]
        for part in slices(len(vectors), len(some)):
            row, column, _ = _near(sample, vectors[part], floor)
            one, other = some[row], column + part.start
            self.pairs += int((one != other).sum())
            self.met += int((visits.meet(one, other) & (one != other)).sum())

    def share(self) -> float | None:
        """Return the share; None where all groups were searched exactly."""
        if not self.groups:
            return None
        return round(self.met / self.pairs, 4) if self.pairs else 1.0


def _search_within(vectors: Vectors, rows: Rows, floor: float, collector: PairCollector) -> None:
    """Add the pairs among rows in pool order: each block with itself and what comes after it."""
    for part in slices(len(vectors), len(vectors)):
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
    one: Vectors, other: Vectors, floor: float, *, later: bool = False
) -> tuple[Rows, Rows, Cosines]:
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
    cosine = exact_cosines(one, row, other, column)
    reached = cosine >= floor
    return row[reached], column[reached], cosine[reached]


def _search_cells(vectors: Vectors, rows: Rows, floor: float, collector: PairCollector) -> None:
    """Add all pairs among many rows, cell by cell, or all with all where cells are no help."""
    visits = EveryNearCell(vectors, find_centres(vectors), floor)
    if visits.share() > BRUTE_SHARE:
        _search_within(vectors, rows, floor, collector)
    else:
        _search_visits(vectors, rows, floor, collector, visits)


def _search_visits(
    vectors: AnyVectors, rows: Rows, floor: float, collector: PairCollector, visits: Visits
) -> None:
    """Add the pairs within each cell, and those of its rows with the rows that visit it."""
    order = np.argsort(visits.own, kind="stable")
    own = visits.own[order]
    for cell, outside_rows in visits.outside_rows():
        inside = order[slice(*np.searchsorted(own, [cell, cell + 1]))]
        if not len(inside):
            continue
        members, names = vectors[inside], rows[inside]
        _search_within(members, names, floor, collector)
        for part in slices(len(outside_rows), len(names)):
            row, column, cosine = _near(vectors[outside_rows[part]], members, floor)
            collector.add(rows[outside_rows[part]][row], names[column], cosine)
