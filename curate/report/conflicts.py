"""Conflicts: prompts that repeat with different answers."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.report.examples import Rows, read_rows
from curate.report.texts import TextView, excerpt, show_row
from curate.runs.folder import RunFolder

PROMPTS, ANSWERS = 10, 4


@dataclass(frozen=True)
class ConflictAnswer:
    """One of several responses to a prompt; `text` is None if the store no longer has it."""

    row_id: str
    origin: str | None
    text: TextView | None


@dataclass(frozen=True)
class ConflictView:
    """A prompt with contradictory answers, some of `count`; `prompt` is None if no longer stored."""

    prompt: TextView | None
    count: int
    answers: tuple[ConflictAnswer, ...]


@dataclass(frozen=True)
class Conflicts:
    """How many prompts repeat with different answers, in how many rows; those with most answers."""

    prompts: int
    rows: int
    examples: tuple[ConflictView, ...]


def gather_conflicts(run: RunFolder, stage: str) -> Conflicts | None:
    """Return None if the stage looked for no conflicts or found none."""
    name = f"evidence/{stage}-conflicts"
    if not run.has(name):
        return None
    prompt = pl.coalesce("other_id", "row_id").alias("prompt")
    conflicts = (
        run.table(name)
        .with_row_index("at")
        .group_by(prompt)
        .agg(pl.col("answers").first(), pl.col("at").min(), ids=pl.col("row_id").sort_by("at"))
        .sort("answers", "at", descending=[True, False])
        .collect()
    )
    if not conflicts.height:
        return None
    largest = [(count, ids[:ANSWERS]) for _, count, _, ids in conflicts.head(PROMPTS).iter_rows()]
    rows = read_rows(run, {row_id for _, ids in largest for row_id in ids})
    return Conflicts(
        prompts=conflicts.height,
        rows=int(conflicts["ids"].list.len().sum()),
        examples=tuple(_conflict(count, ids, rows) for count, ids in largest),
    )


def _conflict(count: int, ids: Sequence[str], rows: Rows) -> ConflictView:
    stored_rows = [rows.get(row_id, ("", {}))[1] for row_id in ids]
    texts = [excerpt(row["messages"][-1]["content"]) if row else None for row in stored_rows]
    answers = [
        ConflictAnswer(row_id, row.get("origin"), text)
        for row_id, row, text in zip(ids, stored_rows, texts, strict=True)
    ]
    first = next((row["messages"] for row in stored_rows if row), None)
    return ConflictView(show_row(first).prompt if first else None, count, tuple(answers))
