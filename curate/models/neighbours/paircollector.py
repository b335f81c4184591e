"""Pairs of rows as a search finds them: each once, of each row its nearest, no more than a limit."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Neighbours:
    """Pairs of row numbers, first < second, in order, with their cosine to six decimals.

    `most` is how many later rows a row was allowed at last, `capped` how many rows had more. `recall`
    is the share of all such pairs that the search found, measured on a sample; None where it is exact.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    cosine: NDArray[np.float64]
    most: int
    capped: int
    recall: float | None = None


class PairCollector:
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

    def close(self, recall: float | None = None) -> Neighbours:
        """Return the pairs that were added."""
        self._compact()
        while self.pair_count > self.limit:
            self.most //= 2
            self._compact()
        pairs, cosine = self.parts[0]
        first, second = np.divmod(pairs, max(self.rows, 1))
        rounded = np.minimum(np.round(cosine, 6), 1.0)
        capped = int(self.capped.sum())
        return Neighbours(first, second, rounded, self.most, capped, recall)
