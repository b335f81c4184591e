"""The rows that a finished run exports: its selection, and rows of earlier training between them."""

import polars as pl

from curate.pool.rehearsed import mix_rows
from curate.runs.folder import RunFolder

TABLE = "evidence/rehearsal-rehearsed"


def exported_rows(run: RunFolder) -> pl.DataFrame:
    """Return the rows of a run's training files."""
    selected = run.table("selected").collect()
    return mix_rows(selected, run.table(TABLE).collect()) if run.has(TABLE) else selected


def rehearsed_count(run: RunFolder) -> int:
    """Return how many of the exported rows are rehearsed."""
    return int(run.table(TABLE).select(pl.len()).collect().item()) if run.has(TABLE) else 0
