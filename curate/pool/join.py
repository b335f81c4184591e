"""Rows that were made, put behind those of the pool."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.calls import Table, cached_files
from curate.core.rows import SCHEMA
from curate.core.run import StepRun
from curate.core.store import Counts
from curate.core.tables import read_batches, scan_table

VERSION = 4
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


@cached_files(version=VERSION, name=NAME)
def write_joined(out: Path, pool: Table, added: Table) -> Counts:
    """Write rows.parquet and the pool's rejects.parquet."""
    added_rows = 0
    with pq.ParquetWriter(out / "rows.parquet", SCHEMA, compression="zstd") as writer:
        for part in (pool, added):
            added_rows = 0
            # Batch by batch, since long rows would not all fit into memory.
            for batch in read_batches(part.path, BATCH_ROWS):
                table = pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA)
                writer.write_table(table)
                added_rows += len(table)
    scan_table(pool.artifact.file("rejects.parquet")).sink_parquet(out / "rejects.parquet")
    counts = pool.artifact.counts
    return {
        "rows_in": counts["rows_in"] + added_rows,
        "rows_out": counts["rows_out"] + added_rows,
        "rejected": counts["rejected"],
        "added": added_rows,
    }
