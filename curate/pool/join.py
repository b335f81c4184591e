"""Tables put one behind the other: the files of a pool, and rows that were made behind those.

    rows.parquet                            of a single table
    rows/00000.parquet, 00001.parquet ...   of several

A stored file is linked, not copied, where the file system can: it never changes.
"""

import os
import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.calls import Table, cached_files
from curate.core.rows import SCHEMA
from curate.core.run import StepRun
from curate.core.store import Counts
from curate.core.tables import read_batches
from curate.pool.recordrows import REJECTS_SCHEMA

TABLES_VERSION = 1
VERSION = 5
BATCH_ROWS = 10_000
NAME = "joined"


def join_rows(run: StepRun, pool: Table, added: Table, name: str = NAME) -> Table:
    """Return the pool's rows with others behind them.

    Args:
        run: makes what is stored.
        pool: the rows so far, with rejects.parquet beside them.
        added: the rows to put behind.
        name: of the artifact.
    """
    return Table(run.result(write_joined.call(pool, added).named(name)), "rows")


# Its artifacts have the name of the set of rows.
@cached_files(version=TABLES_VERSION, name="tables")
def write_tables(out: Path, tables: Sequence[Table]) -> Counts:
    """Write the rows of all tables, one behind the other, and their rejects to rejects.parquet."""
    link_tables(out, [path for table in tables for path in table.paths])
    _write_rejects(out, tables)
    rejected: Counter[str] = Counter()
    for table in tables:
        rejected.update(table.artifact.counts["rejected"])
    counts = [table.artifact.counts for table in tables]
    more = {
        "empty_files": sum(len(one.get("empty", [])) for one in counts),
        "repeated_keys": sum(one.get("repeated_keys", 0) for one in counts),
    }
    return {
        "rows_in": sum(one["rows_in"] for one in counts),
        "rows_out": sum(one["rows_out"] for one in counts),
        "rejected": dict(sorted(rejected.items())),
        **{name: count for name, count in more.items() if count},
    }


@cached_files(version=VERSION, name=NAME)
def write_joined(out: Path, pool: Table, added: Table) -> Counts:
    """Write the rows of the pool and behind them the added ones, and the pool's rejects.parquet."""
    own, added_rows = out / "added.parquet", 0
    with pq.ParquetWriter(own, SCHEMA, compression="zstd") as writer:
        # Batch by batch, since long rows would not all fit into memory.
        for batch in read_batches(added.paths, BATCH_ROWS):
            table = pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA)
            writer.write_table(table)
            added_rows += table.num_rows
    link_tables(out, [*pool.paths, own])
    own.unlink()
    _write_rejects(out, [pool])
    counts = pool.artifact.counts
    return {
        "rows_in": counts["rows_in"] + added_rows,
        "rows_out": counts["rows_out"] + added_rows,
        "rejected": counts["rejected"],
        "added": added_rows,
    }


def link_tables(out: Path, files: Sequence[Path]) -> None:
    """Give Parquet files the names of one table of rows in a folder, in their order."""
    if not files:
        # The pool may be left out where rows are generated.
        pq.write_table(SCHEMA.empty_table(), out / "rows.parquet")
    if len(files) > 1:
        (out / "rows").mkdir()
    for number, file in enumerate(files):
        name = f"rows/{number:05d}.parquet" if len(files) > 1 else "rows.parquet"
        _link(file, out / name)


def _link(file: Path, name: Path) -> None:
    try:
        os.link(file, name)
    except OSError:
        # A file system without links, or another one.
        shutil.copyfile(file, name)


def _write_rejects(out: Path, tables: Sequence[Table]) -> None:
    """Write rejects.parquet: those of all tables, in their order."""
    paths = [table.artifact.file("rejects.parquet") for table in tables]
    with pq.ParquetWriter(out / "rejects.parquet", REJECTS_SCHEMA, compression="zstd") as writer:
        for batch in read_batches(paths, BATCH_ROWS):
            writer.write_batch(batch)
