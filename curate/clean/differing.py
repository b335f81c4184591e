"""Pairs of kept rows that are similar but differ, of a finished run."""

import polars as pl

from curate.core.runrecord import RunTables


def differing_pairs(run: RunTables, stage: str) -> pl.LazyFrame | None:
    """Return the pairs of rows, both kept by a stage, that are similar but differ, most similar first.

    None if the stage has no such table.
    """
    if not run.has(f"evidence/{stage}-differing"):
        return None
    evidence = run.table(f"evidence/{stage}")
    kept = evidence.filter("keep").select("row_id")
    limit = evidence.select(pl.col("threshold").max().alias("limit"))
    return (
        run.table(f"evidence/{stage}-differing")
        .join(limit, how="cross")
        .filter(pl.col("similarity") >= pl.col("limit"))
        .join(kept, on="row_id", how="semi")
        .join(kept.rename({"row_id": "other_id"}), on="other_id", how="semi")
        .sort("similarity", "row_id", "other_id", descending=[True, False, False])
    )
