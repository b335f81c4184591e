"""Prompt and completion as lists of turns: TRL trains on the completion alone, as the proof does."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import polars as pl
import pyarrow as pa

from curate.core.methods import method
from curate.pool.exporter import RecordExporter, arranged_fields, arranged_values
from curate.pool.turnforms import Record, Row, openai_turns, tools_field, tools_value, turns_type

COLUMNS = ["row_id", "source", "origin"]


@method
class PromptCompletionExporter(RecordExporter):
    """Prompt and completion as lists of turns; the last answer is the completion.

    TRL computes the loss on completions alone by default, where it trains on all tokens of `messages`.
    """

    version: ClassVar[int] = 1

    method: Literal["prompt_completion"] = "prompt_completion"

    def record(self, row: Row) -> Record:
        """Return all turns but the last, the last one, tools, and where the row comes from."""
        turns = openai_turns(row["messages"])
        record: Record = {"prompt": turns[:-1], "completion": turns[-1:]}
        record |= tools_value(row)
        return record | {name: row[name] for name in COLUMNS} | arranged_values(row)

    def arrow_schema(self, rows: pl.DataFrame) -> pa.Schema:
        """Return plain types; JSON for tools alone."""
        turns = turns_type(rows["messages"])
        further = [*((name, pa.string()) for name in COLUMNS), *arranged_fields(rows)]
        return pa.schema([("prompt", turns), ("completion", turns), *tools_field(rows), *further])

    def losses(self, row: Row) -> Iterator[str]:
        """Yield that earlier answers are context."""
        answers = [m for m in row["messages"] if m["role"] == "assistant" and m["weight"] != 0]
        if len(answers) > 1:
            yield "of several answers only the last is trained on; recipes/sft_trl.py trains on all"
        yield from super().losses(row)
