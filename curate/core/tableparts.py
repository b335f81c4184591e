"""The files of a stored table, each known by its bytes: what is made of one is reused beside others."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.core.calls import Table, cached_files
from curate.core.jsontypes import JSON
from curate.core.run import StepRun
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tables import grouped_writer, positioned_batches, read_batches, table_rows

CONCATENATED_VERSION = 1
PART_ROWS = 131_072


@dataclass(frozen=True)
class TablePart:
    """A file of a stored table. A key holds its digest, and nothing of the files before and behind."""

    table: Table
    path: Path

    @property
    def identity(self) -> str:
        """Return the digest of its bytes."""
        name = self.path.relative_to(self.table.artifact.path).as_posix()
        return self.table.artifact.files[name]["digest"]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifact of the table."""
        return [self.table.artifact]

    def batches(self, size: int, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        """Yield columns of its rows in order, so many rows at most at once."""
        for batch in read_batches(self.path, size, columns):
            yield pl.DataFrame(batch)


def table_parts(table: Table) -> list[TablePart]:
    """Return the files of a table, in the order of their rows."""
    return [TablePart(table, path) for path in table.paths]


@dataclass(frozen=True)
class SurvivorPart:
    """The rows of a stage that lie in one file, or in a range of a large one.

    A key holds the file's digest, the range, and which of its rows earlier stages dropped. So what is
    made of such a part alone is found again whatever happens to other files.

    Attributes:
        file: of the table of rows.
        start: first row of the range, of the file.
        stop: the row of the file before which it ends.
        offset: position in the pool of the file's first row, which is not in the key.
        kept: a bit for each row of the range, whether no earlier stage drops it; None if all are kept.
    """

    file: TablePart
    start: int
    stop: int
    offset: int
    kept: bytes | None

    @property
    def identity(self) -> list[JSON]:
        """Return what it is known by."""
        kept = None if self.kept is None else hashlib.blake2b(self.kept, digest_size=16).hexdigest()
        return [self.file.identity, self.start, self.stop, kept]

    @property
    def reads(self) -> list[Artifact]:
        """Return the artifact of the table."""
        return self.file.reads

    def batches(self, columns: Sequence[str], size: int) -> Iterator[pl.DataFrame]:
        """Yield columns of the rows and `position` in the file, in order; none of them is empty."""
        rows = self.stop - self.start
        kept = np.ones(rows, dtype=np.bool_)
        if self.kept is not None:
            kept = np.unpackbits(np.frombuffer(self.kept, dtype=np.uint8), count=rows).astype(bool)
        path = self.file.path
        for frame in positioned_batches(path, size, columns, self.start, self.stop):
            inside = frame.filter(pl.Series(kept[frame["position"].to_numpy() - self.start]))
            if inside.height:
                yield inside


def survivor_parts(data: StageInputs, most: int | None = None) -> list[SurvivorPart]:
    """Return the rows that a stage reads in parts, one at least: a file each, or ranges of a large one.

    Args:
        data: what the stage reads.
        most: rows of a part; PART_ROWS if None.
    """
    return masked_parts(data.rows, data.survivor_mask(), most)


def kept_parts(rows: Table, kept: Table) -> list[SurvivorPart]:
    """Return those rows of the pool that all stages kept, in parts as `survivor_parts` makes them."""
    mask = np.zeros(rows.height, dtype=np.bool_)
    mask[kept.read(["position"])["position"].to_numpy()] = True
    return masked_parts(rows, mask)


def masked_parts(
    table: Table, mask: NDArray[np.bool_], most: int | None = None
) -> list[SurvivorPart]:
    """Return the rows of a table that a mask [N] has, in parts as `survivor_parts` makes them."""
    most, offset, parts = most or PART_ROWS, 0, []
    for file in table_parts(table):
        rows = table_rows(file.path)
        for start in range(0, rows, most):
            stop = min(start + most, rows)
            kept = mask[offset + start : offset + stop]
            bits = None if kept.all() else np.packbits(kept).tobytes()
            if kept.any():
                parts.append(SurvivorPart(file, start, stop, offset, bits))
        offset += rows
    # Where no row is left, a part of none tells so.
    return parts or [SurvivorPart(table_parts(table)[0], 0, 0, 0, None)]


@cached_files(version=CONCATENATED_VERSION, name="concatenated", title="Put tables together")
def write_concatenated(out: Path, tables: Sequence[Table]) -> Counts:
    """Write the rows of tables of one schema, one behind the other, to a table of their name."""
    rows = 0
    schema = pq.read_schema(tables[0].path)
    with grouped_writer(out / f"{tables[0].name}.parquet", schema) as write:
        for batch in read_batches([table.path for table in tables], PART_ROWS):
            rows += len(batch)
            write(pa.Table.from_batches([batch]))
    return {"rows_in": rows, "rows_out": rows}


def concatenated(run: StepRun, tables: Sequence[Table]) -> Table:
    """Return tables of one name and schema as a single one; a lone one is that already."""
    if len(tables) == 1:
        return tables[0]
    return Table(run(write_concatenated, tables), tables[0].name)
