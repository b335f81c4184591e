"""Rows that were made, put behind those of the pool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.rows import SCHEMA
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_batches, scan_table

VERSION = 3
BATCH_ROWS = 10_000
NAME = "joined"


def joined_step(pool: Artifact, added: Artifact, table: str = "rows", name: str = NAME) -> Step:
    """Return the step that puts made rows behind those of the pool.

    Args:
        pool: the rows so far, with rows.parquet and rejects.parquet.
        added: what holds the made rows.
        table: their file's name in it, without .parquet.
        name: of the step.
    """
    return Step(name, VERSION, write_joined, {"pool": pool, "added": added}, {"table": table})


def write_joined(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write rows.parquet and the pool's rejects.parquet."""
    parts = [
        inputs["pool"].file("rows.parquet"),
        inputs["added"].file(f"{params['table']}.parquet"),
    ]
    added = 0
    with pq.ParquetWriter(out / "rows.parquet", SCHEMA, compression="zstd") as writer:
        for path in parts:
            added = 0
            # Batch by batch, since long rows would not all fit into memory.
            for batch in read_batches(path, BATCH_ROWS):
                table = pa.Table.from_batches([batch]).select(SCHEMA.names).cast(SCHEMA)
                writer.write_table(table)
                added += len(table)
    scan_table(inputs["pool"].file("rejects.parquet")).sink_parquet(out / "rejects.parquet")
    counts = inputs["pool"].counts
    return {
        "rows_in": counts["rows_in"] + added,
        "rows_out": counts["rows_out"] + added,
        "rejected": counts["rejected"],
        "added": added,
    }
