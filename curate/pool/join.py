"""Rows that were made, put behind those of the pool."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.store import Artifact, Counts, Step
from curate.tables import scan_table

VERSION = 2
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
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write rows.parquet and the pool's rejects.parquet."""
    pool = scan_table(inputs["pool"].file("rows.parquet"))
    added = scan_table(inputs["added"].file(f"{params['table']}.parquet"))
    parts = [part.with_columns(pl.col("hop").cast(pl.Int32)) for part in (pool, added)]
    pl.concat(parts).sink_parquet(out / "rows.parquet")
    scan_table(inputs["pool"].file("rejects.parquet")).sink_parquet(out / "rejects.parquet")
    counts = inputs["pool"].counts
    count = int(added.select(pl.len()).collect().item())
    return {
        "rows_in": counts["rows_in"] + count,
        "rows_out": counts["rows_out"] + count,
        "rejected": counts["rejected"],
        "added": count,
    }
