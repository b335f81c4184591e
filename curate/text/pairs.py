"""Pairs of similar rows by row number, and which rows stay: domination, or groups cut to a size."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

from curate.core.errors import UserError

PAIR_SCHEMA = {
    "row_id": pl.String,
    "other_id": pl.String,
    "similarity": pl.Float64,
    "same": pl.Boolean,
}


@dataclass(frozen=True)
class Pairs:
    """Pairs of row numbers with their similarity; `same` pairs are equal in all that is compared."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    similarity: NDArray[np.float64]
    same: NDArray[np.bool_]


@dataclass(frozen=True)
class DuplicateVerdicts:
    """For each row the one that it duplicates, -1 if kept; its similarity to that or a kept row."""

    duplicate_of: NDArray[np.int64]
    similarity: NDArray[np.float64]
    threshold: float


def repeated(values: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Return the places, ascending, of the values that come more than once."""
    order = np.argsort(values)
    ordered = values[order]
    # Whether each is equal to the one before it; the first and one behind the last are not.
    equal = np.zeros(len(values) + 1, dtype=np.bool_)
    equal[1:-1] = ordered[1:] == ordered[:-1]
    places: NDArray[np.int64] = order[equal[1:] | equal[:-1]]
    return np.sort(places)


def number_pairs(ids: pl.Series, pairs: pl.DataFrame) -> Pairs:
    """Return pairs of ids as pairs of positions in `ids`; pairs with other rows are left out."""
    places = ids.to_frame("row_id").with_row_index("first").cast({"first": pl.Int64})
    numbered_pairs = pairs.join(places, on="row_id").join(
        places.rename({"row_id": "other_id", "first": "second"}), on="other_id"
    ).sort("first", "second")  # fmt: skip
    first, second, similarity, same = (
        numbered_pairs[name].to_numpy() for name in ("first", "second", "similarity", "same")
    )
    return Pairs(first, second, similarity, same)


def dominate_pairs(pairs: Pairs, free: NDArray[np.bool_], threshold: float) -> NDArray[np.bool_]:
    """Return which of the free rows stay if each goes for a similar kept row before it.

    Args:
        pairs: of row numbers; earlier rows survive.
        free: which rows take part [N].
        threshold: similarity from which on a row goes.
    """
    # Rows without a part come last, where they drop none, but still link those that are the same.
    rank = np.arange(len(free)) + np.where(free, 0, len(free))
    duplicate_of = DuplicateGroups(len(free), pairs, rank).judge(threshold).duplicate_of
    return free & (duplicate_of < 0)


class DuplicateGroups:
    """Rows that are the same to the comparison, taken together, and the pairs between groups."""

    def __init__(self, size: int, pairs: Pairs, rank: NDArray[np.int64]) -> None:
        links = scipy.sparse.coo_array(
            (np.ones(int(pairs.same.sum())), (pairs.first[pairs.same], pairs.second[pairs.same])),
            shape=(size, size),
        )
        count, label = scipy.sparse.csgraph.connected_components(links, directed=False)
        by_rank = np.argsort(rank)
        best = np.full(count, -1)
        best[label[by_rank[::-1]]] = by_rank[::-1]
        order = np.argsort(rank[best])
        place = np.empty(count, dtype=np.int64)
        place[order] = np.arange(count)
        # Groups are numbered by the survival of their best row from here on.
        self.of_row: NDArray[np.int64] = place[label]
        self.best_row: NDArray[np.int64] = best[order]
        ends = np.stack([self.of_row[pairs.first], self.of_row[pairs.second]])[:, ~pairs.same]
        between = ends[0] != ends[1]
        self.better, self.worse = ends.min(axis=0)[between], ends.max(axis=0)[between]
        self.similarity = pairs.similarity[~pairs.same][between]

    def judge(self, threshold: float) -> DuplicateVerdicts:
        """Keep every group that no kept better group is similar to."""
        return self.tell(self.dominate(np.flatnonzero(self.similarity >= threshold)), threshold)

    def tell(self, kept: NDArray[np.bool_], threshold: float) -> DuplicateVerdicts:
        """Return the verdicts on all rows when these groups are kept."""
        duplicate_group, similarity = self._nearest(kept)
        duplicate_of = np.where(duplicate_group >= 0, self.best_row[duplicate_group], -1)[
            self.of_row
        ]
        near = similarity[self.of_row]
        heads = self.best_row[self.of_row]
        copies = (duplicate_of < 0) & (heads != np.arange(len(duplicate_of)))
        duplicate_of[copies], near[copies] = heads[copies], 1.0
        return DuplicateVerdicts(duplicate_of, near, threshold)

    def dominate(self, strong: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return which groups are kept if the pairs with these numbers count as similar.

        A group without a better similar group that is undecided or kept stays; one with a kept one
        goes. Each round decides all groups that it can, so the result is that of going through the
        groups one by one, best first.
        """
        better, worse = self.better[strong], self.worse[strong]
        count = len(self.best_row)
        kept, decided = np.zeros(count, dtype=np.bool_), np.zeros(count, dtype=np.bool_)
        while len(worse):
            waits = np.zeros(count, dtype=np.bool_)
            waits[worse] = True
            kept |= ~decided & ~waits
            decided |= kept
            decided[worse[kept[better]]] = True
            open_ = ~decided[worse] & ~decided[better]
            better, worse = better[open_], worse[open_]
        return kept | ~decided

    def _nearest(self, kept: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return for each group the kept better group most similar to it, and the similarity.

        The group is -1 where it is kept itself.
        """
        from_kept = kept[self.better]
        better, worse = self.better[from_kept], self.worse[from_kept]
        similarity = self.similarity[from_kept]
        order = np.lexsort((better, -similarity, worse))
        worse, first = np.unique(worse[order], return_index=True)
        duplicate_of = np.full(len(kept), -1, dtype=np.int64)
        near = np.zeros(len(kept))
        near[worse] = similarity[order][first]
        duplicate_of[worse] = better[order][first]
        duplicate_of[kept] = -1
        return duplicate_of, near


def judge_to_size(
    groups: DuplicateGroups,
    rank: NDArray[np.int64],
    rows: int,
    lowest: float,
    unpaired: int = 0,
) -> DuplicateVerdicts:
    """Let weaker and weaker pairs count until no more than `rows` stay; take back drops beyond.

    Pairs count one by one, among equal ones those of the worst group first, so that ties do not drop
    too much. Where one pair costs several rows, the least similar drops are taken back, which leaves
    all others valid: none of them duplicates such a row.

    Args:
        groups: of the rows that have a pair.
        rank: of each of these its place in the order of survival.
        rows: that are to be left, the unpaired ones among them.
        lowest: similarity of the pairs that may count.
        unpaired: how many rows there are besides, which stay.
    """
    goal = min(rows - unpaired, len(rank))
    strongest = np.lexsort((groups.better, -groups.worse, -groups.similarity))
    few, many = 0, int((groups.similarity >= lowest).sum())
    kept = groups.dominate(strongest[:many])
    left = int(kept.sum())
    if left > goal:
        raise UserError(
            f"cannot go down to {rows:,} rows: {left + unpaired:,} are left when every pair with a "
            f"similarity of {lowest:.4g} or more has lost a row; ask for more rows or lower `floor`"
        )
    while few < many:
        middle = (few + many) // 2
        tried = groups.dominate(strongest[:middle])
        if tried.sum() <= goal:
            many, kept = middle, tried
        else:
            few = middle + 1
    threshold = float(groups.similarity[strongest[many - 1]]) if many else 1.0
    verdicts = groups.tell(kept, threshold)
    dropped = np.flatnonzero(verdicts.duplicate_of >= 0)
    # A copy equals the best row of its group, which is therefore taken back before it.
    is_copy = groups.best_row[groups.of_row[dropped]] != dropped
    near = np.where(is_copy, 1.0, verdicts.similarity[dropped])
    order = dropped[np.lexsort((rank[dropped], near))]
    duplicate_of = verdicts.duplicate_of.copy()
    duplicate_of[order[: goal - int(kept.sum())]] = -1
    return DuplicateVerdicts(duplicate_of, verdicts.similarity, threshold)


def pair_table(ids: pl.Series, pairs: Pairs) -> pl.DataFrame:
    """Return pairs of positions in `ids` as a table of ids (PAIR_SCHEMA)."""
    columns: dict[str, Any] = {
        "row_id": ids.gather(pairs.first),
        "other_id": ids.gather(pairs.second),
        "similarity": pairs.similarity,
        "same": pairs.same,
    }
    return pl.DataFrame(columns, schema=PAIR_SCHEMA)
