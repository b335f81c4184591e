"""Rows of earlier training in a finished run: those that it exports between its own, and why these."""

import polars as pl

from curate.pool.rehearsed import mix_rows
from curate.runs.folder import RunFolder

TABLE, FATES = "evidence/rehearsal-rehearsed", "evidence/rehearsal"
WORDS = {
    "rehearsed": "mixed into the training files",
    "not_drawn": "not drawn",
    "wrong_before": "not drawn: the base model gets it wrong before any tuning",
    "unread": "not drawn: the base model reads no response token of it",
    "dropped": "kept out",
}


def exported_rows(run: RunFolder) -> pl.DataFrame:
    """Return the rows of a run's training files."""
    selected = run.table("selected").collect()
    return mix_rows(selected, run.table(TABLE).collect()) if run.has(TABLE) else selected


def rehearsed_count(run: RunFolder) -> int:
    """Return how many of the exported rows are rehearsed."""
    return int(run.table(TABLE).select(pl.len()).collect().item()) if run.has(TABLE) else 0


def explain_prior(run: RunFolder, row_id: str) -> list[str]:
    """Return what became of a row of earlier training; nothing for any other."""
    if not run.has(FATES):
        return []
    rows = run.table(FATES).filter(pl.col("row_id") == row_id).collect()
    if not rows.height:
        return []
    row = rows.row(0, named=True)
    lines = [f"{row_id}  ({row['source']}, {row['origin']}): a row of earlier training", ""]
    reason = f" ({row['reason']})" if row["reason"] else ""
    lines.append(f"{WORDS[row['fate']].capitalize()}{reason}")
    if row["bin"]:
        lines.append(f"Loss of the base {row['loss']:.3g}, bin {row['bin']}")
    if row["probed"]:
        lines.append(
            f"Probed: {'wrong' if row['wrong'] else 'right'} after tuning on the selection"
        )
    return lines
