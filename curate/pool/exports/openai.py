"""Chat examples for OpenAI's fine-tuning and those who read its files: messages, tools and weights."""

from collections.abc import Iterator
from typing import ClassVar, Literal

import polars as pl

from curate.core.methods import method
from curate.pool.exporter import RecordExporter
from curate.pool.turnforms import Record, Row, openai_turns, tools_value

MIN_ROWS = 10


@method
class OpenaiExporter(RecordExporter):
    """Chat examples for OpenAI's fine-tuning: messages, tools and weights alone.

    openai/train-DIGEST.jsonl. Arguments of calls are JSON text, calls without an id get one, and
    weight 0 marks answers that are not trained on.
    """

    version: ClassVar[int] = 1

    method: Literal["openai"] = "openai"

    def record(self, row: Row) -> Record:
        """Return turns and tools."""
        turns = _with_ids(openai_turns(row["messages"], text_arguments=True))
        for turn in turns:
            turn.pop("reasoning_content", None)
            if turn["role"] != "assistant":
                turn.pop("weight", None)
        return {"messages": turns} | tools_value(row)

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what OpenAI's files have no field for."""
        if any(m["reasoning"] for m in row["messages"]):
            yield "reasoning is not in it, since OpenAI's files have no field for it"
        yield from super().losses(row)

    def remarks(self, rows: pl.DataFrame) -> list[str]:
        """Return what is lost, and whether there are too few rows."""
        few = f"openai: {rows.height} rows; OpenAI's fine-tuning takes no file of fewer than {MIN_ROWS}"
        return [*([few] if rows.height < MIN_ROWS else []), *super().remarks(rows)]


def _with_ids(turns: list[Record]) -> list[Record]:
    """Give calls without an id one, and the results that follow them in their order the same."""
    waiting: list[str] = []
    for number, turn in enumerate(turns):
        for position, call in enumerate(turn.get("tool_calls", ())):
            call["id"] = call.get("id") or f"call_{number}_{position}"
            waiting.append(call["id"])
        if turn["role"] == "tool":
            if "tool_call_id" not in turn and waiting:
                turn["tool_call_id"] = waiting[0]
            if turn.get("tool_call_id") in waiting:
                waiting.remove(turn["tool_call_id"])
    return turns
