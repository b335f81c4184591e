"""Preferences: prompt, chosen and rejected answer, for DPO and its like."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import polars as pl
import pyarrow as pa

from curate.core.methods import method
from curate.core.preferences import chosen_turns_of
from curate.pool.exporter import RecordExporter, arranged_fields, arranged_values
from curate.pool.turnforms import Record, Row, openai_turns, tools_field, tools_value, turns_type

COLUMNS = ["row_id", "source", "origin"]


@method
class PreferenceExporter(RecordExporter):
    """Prompt, chosen and rejected answer as lists of turns, from the rows that have a rejected one.

    preference/train-DIGEST.jsonl and Parquet beside it, which TRL's DPOTrainer takes.
    """

    version: ClassVar[int] = 1
    ranks: ClassVar[bool] = True

    method: Literal["preference"] = "preference"

    def unfit(self, row: Row) -> str | None:
        """Return that there is no rejected answer."""
        return None if row["rejected"] else "they have no rejected answer"

    def record(self, row: Row) -> Record:
        """Return the turns of the prompt, and those from where the two answers part."""
        turns = openai_turns(row["messages"])
        start = len(turns) - chosen_turns_of(row["messages"], row["meta"])
        record: Record = {
            "prompt": turns[:start],
            "chosen": turns[start:],
            "rejected": openai_turns(row["rejected"]),
        }
        record |= tools_value(row)
        return record | {name: row[name] for name in COLUMNS} | arranged_values(row)

    def arrow_schema(self, rows: pl.DataFrame) -> pa.Schema:
        """Return plain types; JSON for tools alone."""
        turns = turns_type(rows["messages"], rows["rejected"])
        lists = [(name, turns) for name in ("prompt", "chosen", "rejected")]
        further = [*((name, pa.string()) for name in COLUMNS), *arranged_fields(rows)]
        return pa.schema([*lists, *tools_field(rows), *further])

    def losses(self, row: Row) -> Iterator[str]:
        """Yield nothing: what it is about are the last answers."""
        yield from ()
