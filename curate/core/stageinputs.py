"""What a stage reads: the rows that earlier stages kept, and the example sets that it uses."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, TableGroup
from curate.core.tables import positioned_batches, scan_table


@dataclass(frozen=True)
class StageInputs(TableGroup):
    """What a stage reads: rows, the evidence of earlier stages, and the example sets that it uses."""

    rows: Table
    evidence: tuple[Table, ...] = ()
    target: Table | None = None
    eval: Table | None = None
    protected: Table | None = None
    watch: Table | None = None

    def survivors(self) -> pl.LazyFrame:
        """Return the rows that no earlier evidence drops, in pool order.

        Rows that a stage made are unknown to the stages before them, which drop them no more than keep
        them.
        """
        return self.without_dropped(self.rows.scan())

    def without_dropped(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return those of some rows that no earlier evidence drops, in their order."""
        for verdicts in self.evidence:
            rows = rows.join(
                _dropped(verdicts.scan()), on="row_id", how="anti", maintain_order="left"
            )
        return rows

    def survivor_ids(self) -> pl.DataFrame:
        """Return the ids of the rows that no earlier evidence drops, in pool order."""
        return self.survivors().select("row_id").collect()

    def survivor_mask(self) -> NDArray[np.bool_]:
        """Return for each pool position whether no earlier evidence drops the row."""
        return _survivor_mask(_place(self.rows), tuple(map(_place, self.evidence)))

    def positions(self) -> NDArray[np.int64]:
        """Return the pool positions, ascending, of the rows that no earlier evidence drops."""
        return np.flatnonzero(self.survivor_mask())

    def survivor_batches(
        self, columns: Sequence[str], size: int, start: int = 0, stop: int = -1
    ) -> Iterator[pl.DataFrame]:
        """Yield the rows that no earlier evidence drops, batch by batch, without ever holding them all.

        Args:
            columns: which columns of the rows.
            size: pool rows that a batch is made from at most.
            start: first pool position.
            stop: pool position to end before; the end of the pool if negative.

        Yields:
            The columns and `position` in the pool, in pool order; empty batches are left out.
        """
        kept = self.survivor_mask()
        stop = len(kept) if stop < 0 else stop
        for frame in positioned_batches(self.rows.paths, size, columns, start, stop):
            inside = frame.filter(pl.Series(kept[frame["position"].to_numpy()]))
            if inside.height:
                yield inside


# A table's paths, and the digest of its artifact.
_Place = tuple[tuple[Path, ...], str]


def _place(table: Table) -> _Place:
    return tuple(table.paths), table.artifact.digest


# A stage asks for it once for each of its blocks; stored tables never change.
@lru_cache(maxsize=2)
def _survivor_mask(rows: _Place, evidence: tuple[_Place, ...]) -> NDArray[np.bool_]:
    ids = scan_table(rows[0]).select("row_id")
    positions = ids.with_row_index("position").cast({"position": pl.Int64})
    for dropped in (_dropped(scan_table(paths)) for paths, _ in evidence):
        positions = positions.join(dropped, on="row_id", how="anti")
    mask = np.zeros(ids.select(pl.len()).collect().item(), dtype=np.bool_)
    mask[positions.select("position").collect()["position"].to_numpy()] = True
    mask.setflags(write=False)
    return mask


def _dropped(verdicts: pl.LazyFrame) -> pl.LazyFrame:
    """Return the ids that an earlier stage drops."""
    return verdicts.filter(~pl.col("keep")).select("row_id")
