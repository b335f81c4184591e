"""What models make of rows of earlier training: the loss of each, and whether its answer is right.

Right is an answer by its value (curate.answers), written greedily, where the response is a number, a
choice or a few words. No other text is right or wrong: the base gets it right, whatever its loss.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from curate.answers.values import find_form, same_answer
from curate.core.calls import Counted, Table, TableGroup, cached, cached_files
from curate.core.keyed import ModelSource
from curate.core.rows import response_text
from curate.core.run import StepRun
from curate.core.store import Artifact, Counts
from curate.proof.damage import bin_names
from curate.proof.measure import measurement
from curate.proof.written import written

VERSION = 1
VALUE_FORMS = ("number", "choice", "short")


@dataclass(frozen=True)
class RowReadings(TableGroup):
    """What a model makes of rows: its losses, and its answers to those that are compared by value."""

    losses: Table
    answers: Table | None = None


def read_rows(
    run: StepRun, rows: Table, model: ModelSource, max_length: int, tuned: Artifact | None = None
) -> RowReadings:
    """Return what a fine-tune, or the untuned model, makes of rows."""
    losses = run.result(measurement(rows, tuned, max_length, model))
    by_value = Table(run(write_by_value, rows), "rows")
    if not by_value.height:
        return RowReadings(losses)
    # All of them are answered, whatever the seed of a draw.
    answers = run(written, by_value.artifact, by_value.height, 0, model, tuned)
    return RowReadings(losses, answers)


@cached_files(version=VERSION, name="rehearse-by-value")
def write_by_value(out: Path, prior: Table) -> Counts:
    """Write rows.parquet: the rows whose response is a number, a choice or a few words."""
    rows = prior.read()
    forms = [find_form(response_text(turns)) for turns in rows["messages"]]
    part = rows.filter(pl.Series([form in VALUE_FORMS for form in forms], dtype=pl.Boolean))
    part.write_parquet(out / "rows.parquet")
    return {"rows_in": rows.height, "rows_out": part.height}


@cached(version=VERSION, name="rehearse-base")
def base_state(prior: Table, readings: RowReadings) -> Counted[pl.DataFrame]:
    """Return row_id, source, origin, loss, right (null for a row that is not read) and bin."""
    state = judge_rows(prior.read(["row_id", "source", "origin", "messages"]), readings)
    right = pl.when(pl.col("loss").is_not_null()).then(pl.col("by_value").fill_null(value=True))
    table = state.with_columns(right=right, bin=bin_names(state)).drop("by_value")
    return Counted(table, {"rows_in": table.height, "right": int(table["right"].sum())})


def judge_rows(rows: pl.DataFrame, readings: RowReadings) -> pl.DataFrame:
    """Return rows without their turns, with loss and by_value: null where no value is compared.

    Args:
        rows: row_id, messages and others.
        readings: of these rows.
    """
    losses = readings.losses.read(["eval_id", "loss"]).rename({"eval_id": "row_id"})
    table = rows.join(losses, on="row_id", how="left", maintain_order="left")
    if readings.answers is None:
        return table.drop("messages").with_columns(by_value=pl.lit(None, dtype=pl.Boolean))
    answers = readings.answers.read(["eval_id", "text"]).rename({"eval_id": "row_id"})
    references = answers.join(rows.select("row_id", "messages"), on="row_id", how="left")
    by_value = [
        text is not None and same_answer("auto", response_text(turns), text) is True
        for text, turns in references.select("text", "messages").iter_rows()
    ]
    judged = references.select("row_id", by_value=pl.Series(by_value, dtype=pl.Boolean))
    return table.join(judged, on="row_id", how="left", maintain_order="left").drop("messages")
