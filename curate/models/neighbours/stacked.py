"""Blocks of vectors as one array that stays on the disk: rows are read when they are looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from curate.models.neighbours.topk import Rows, Vectors


@dataclass(frozen=True)
class StackedVectors:
    """Blocks of vectors [n, d], mapped into memory, one after the other; indexed as one array [N, d]."""

    blocks: Sequence[Vectors]

    @cached_property
    def _ends(self) -> NDArray[np.int64]:
        return np.cumsum([0, *map(len, self.blocks)])

    def __len__(self) -> int:
        """Return the number of vectors."""
        return int(self._ends[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of vectors and their width."""
        return len(self), self.blocks[0].shape[1] if self.blocks else 0

    def __getitem__(self, rows: "slice | Rows") -> Vectors:
        """Return the vectors of some rows, in the order in which these are given."""
        numbers = np.arange(*rows.indices(len(self))) if isinstance(rows, slice) else rows
        vectors = np.empty((len(numbers), self.shape[1]), dtype=np.float32)
        block = np.searchsorted(self._ends, numbers, side="right") - 1
        for at in np.unique(block):
            own = np.flatnonzero(block == at)
            vectors[own] = self.blocks[at][numbers[own] - self._ends[at]]
        return vectors


@dataclass(frozen=True)
class SelectedVectors:
    """Some rows of vectors, which are read when they are looked at; indexed as an array [n, d]."""

    vectors: "AnyVectors"
    rows: Rows

    def __len__(self) -> int:
        """Return the number of vectors."""
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, int]:
        """Return the number of vectors and their width."""
        return len(self.rows), self.vectors.shape[1]

    def __getitem__(self, rows: "slice | Rows") -> Vectors:
        """Return the vectors of some rows, in the order in which these are given."""
        return self.vectors[self.rows[rows]]


AnyVectors = Vectors | StackedVectors | SelectedVectors
