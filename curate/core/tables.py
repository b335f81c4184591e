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


def scan_table(path: str | Path) -> pl.LazyFrame:
    """Return a Parquet file as a lazy frame."""
    return pl.scan_parquet(Path(path).absolute(), glob=False)


def with_current_names(table: pl.LazyFrame) -> pl.LazyFrame:
    """Return a table of a run with the names that its columns have now.

    Older runs have `twin_id` for `duplicate_of` in tables that give reasons (evidence, ledger, scores)
    and for `other_id` in tables of pairs.
    """
    columns = table.collect_schema()
    name = "duplicate_of" if "reason" in columns else "other_id"
    return table.rename({"twin_id": name}) if "twin_id" in columns else table


def read_table(path: str | Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """Return a Parquet file, or some of its columns, as a frame."""
    names = None if columns is None else list(columns)
    return pl.read_parquet(Path(path).absolute(), columns=names, glob=False)


def table_schema(path: str | Path) -> pl.Schema:
    """Return the names and types of a Parquet file's columns."""
    return scan_table(path).collect_schema()


@contextmanager
def grouped_writer(path: Path, schema: pa.Schema) -> Iterator[Callable[[pa.Table], None]]:
    """Yield a function that writes tables one after the other to a Parquet file.

    They are put together to row groups of GROUP_BYTES or more, whatever their own sizes.
    """
    tables: list[pa.Table] = []

    def write() -> None:
        if any(table.num_rows for table in tables):
            writer.write_table(pa.concat_tables(tables))
        tables.clear()

    def add(table: pa.Table) -> None:
        tables.append(table)
        if sum(each.nbytes for each in tables) >= GROUP_BYTES:
            write()

    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        yield add
        write()


def rows_at_once(path: str | Path, most: int) -> int:
    """Return the size of a batch of a table's rows: at most so many, and about 64 MiB of them."""
    metadata = pq.read_metadata(Path(path).absolute())
    groups = (metadata.row_group(i) for i in range(metadata.num_row_groups))
    size = sum(group.total_byte_size for group in groups)
    rows: int = BATCH_BYTES * metadata.num_rows // max(size, 1)
    return max(min(most, rows), 1)


def read_batches(
    path: str | Path, most: int, columns: Sequence[str] | None = None
) -> Iterator[pa.RecordBatch]:
    """Yield the rows of a table in order, as many at once as rows_at_once says."""
    file, size = pq.ParquetFile(Path(path).absolute(), pre_buffer=False), rows_at_once(path, most)
    names = None if columns is None else list(columns)
    # Group by group: of several groups the reader would hold all.
    for group in range(file.num_row_groups):
        yield from file.iter_batches(size, row_groups=[group], columns=names)
