"""Parquet tables, read by their literal path.

runs/a[1]/ledger.parquet      this file, and not the one that the pattern would match: runs/a1/...

Polars takes a path for a pattern, a URL or one below the home folder unless it is absolute and told
otherwise, so no other module calls its readers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

BATCH_BYTES = 64 * 2**20
GROUP_BYTES = 16 * 2**20
GROUP_ROWS = 122_880


class TableFile(Protocol):
    """A table in a file: stored by a run, or in the folder of a finished one."""

    @property
    def path(self) -> Path:
        """Return the path of its Parquet file."""
        ...

    def scan(self) -> pl.LazyFrame:
        """Return the rows, read when they are collected."""
        ...

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows, or some columns of them."""
        ...


@dataclass(frozen=True)
class ParquetFile:
    """A table in a Parquet file."""

    path: Path

    def scan(self) -> pl.LazyFrame:
        """Return the rows, read when they are collected."""
        return scan_table(self.path)

    def read(self, columns: Sequence[str] | None = None) -> pl.DataFrame:
        """Return the rows, or some columns of them."""
        return read_table(self.path, columns)


# A table's file, or its files in the order of their rows.
TablePaths = str | Path | Sequence[Path]


def scan_table(paths: TablePaths, file_column: str | None = None) -> pl.LazyFrame:
    """Return a Parquet file, or several that follow one another, as a lazy frame.

    `file_column` is a column that names the file of each row.
    """
    return pl.scan_parquet(_absolute(paths), glob=False, include_file_paths=file_column)


def _absolute(paths: TablePaths) -> list[Path]:
    if isinstance(paths, str | Path):
        return [Path(paths).absolute()]
    return [path.absolute() for path in paths]


def with_current_names(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return a table of a run with the names that its columns have now.

    Older runs have `twin_id` for `duplicate_of` in tables that give reasons (evidence, ledger, scores)
    and for `other_id` in tables of pairs.
    """
    columns = table.collect_schema()
    name = "duplicate_of" if "reason" in columns else "other_id"
    return table.rename({"twin_id": name}) if "twin_id" in columns else table


def read_table(paths: TablePaths, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return a Parquet file, or several that follow one another, or some columns, as a frame."""
    names = None if columns is None else list(columns)
    return pl.read_parquet(_absolute(paths), columns=names, glob=False)


def table_schema(path: str | Path) -> pl.Schema:
    """Return the names and types of a Parquet file's columns."""
    return scan_table(path).collect_schema()


def table_rows(path: str | Path) -> int:
    """Return the number of a Parquet file's rows, which stands at its end."""
    rows: int = pq.read_metadata(path).num_rows
    return rows


def write_table(table: pl.DataFrame | pl.LazyFrame, path: Path) -> None:
    """Write a frame, or a lazy one piece by piece as it is computed, to a Parquet file.

    Row groups have GROUP_ROWS rows: left to polars they follow the pieces that it computes at a time,
    and these its number of threads.
    """
    table.lazy().sink_parquet(path, row_group_size=GROUP_ROWS)


@contextmanager
def grouped_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that writes tables one after the other to a Parquet file.

    They are put together to row groups of GROUP_BYTES or more, whatever their own sizes.
    """
    tables: list[pa.Table] = []
    sizes: list[int] = []

    def write() -> None:
        if any(table.num_rows for table in tables):
            writer.write_table(pa.concat_tables(tables))
        tables.clear()
        sizes.clear()

    def add(table: pa.Table) -> None:
        tables.append(table)
        sizes.append(table.nbytes)
        if sum(sizes) >= GROUP_BYTES:
            write()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield add
        write()


def rows_at_once(paths: TablePaths, most: int) -> int:
    """Return the size of a batch of a table's rows: at most so many, and about 64 MiB of them."""
    size = count = 0
    for path in _absolute(paths):
        metadata = pq.read_metadata(path)
        groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
        size += sum(group.total_byte_size for group in groups)
        count += metadata.num_rows
    rows: int = BATCH_BYTES * count // max(size, 1)
    return max(min(most, rows), 1)


def read_batches(
    paths: TablePaths, most: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in order, as many at once as rows_at_once says."""
    size = rows_at_once(paths, most)
    for group in row_groups(paths):
        yield from group.batches(size, columns)


def positioned_batches(
    paths: TablePaths, most: int, columns: Sequence[str], start: int, stop: int
) -> Iterator[pl.DataFrame]:
    """Yield columns of the rows from one position to before another, with their `position`, in order.

    As many at once as rows_at_once says.
    """
    size = rows_at_once(paths, most)
    for group in row_groups(paths):
        if group.stop <= start or group.start >= stop:
            continue
        at = group.start
        for batch in group.batches(size, columns):
            frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(
                position=pl.int_range(at, at + len(batch), dtype=pl.Int64)
            )
            at += len(batch)
            yield frame.filter(pl.col("position").is_between(start, stop, closed="left"))


@dataclass(frozen=True)
class RowGroup:
    """A row group of a Parquet file: rows from position `start` of the table to before `stop`."""

    file: pq.ParquetFile
    number: int
    start: int
    stop: int

    def batches(self, size: int, columns: Sequence[str] | None = None) -> Iterator[pa.RecordBatch]:
        """Yield its rows in order, at most so many at once."""
        names = None if columns is None else list(columns)
        yield from self.file.iter_batches(size, row_groups=[self.number], columns=names)


def row_groups(paths: TablePaths) -> Iterator[RowGroup]:
    """Yield the row groups of a table: of several at once the reader would hold all."""
    start = 0
    for path in _absolute(paths):
        with pq.ParquetFile(path, pre_buffer=False) as file:
            for number in range(file.num_row_groups):
                stop = start + file.metadata.row_group(number).num_rows
                yield RowGroup(file, number, start, stop)
                start = stop
