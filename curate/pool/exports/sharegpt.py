"""ShareGPT: conversations of from and value, with the dataset_info.json of LLaMA-Factory."""

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal

import orjson

from curate.core.methods import method
from curate.core.rows import Message
from curate.pool.exporter import RecordExporter
from curate.pool.llamafactory import alternates, lost_marks, split_system, write_dataset_info
from curate.pool.turnforms import Record, Row, parse_arguments, reasoning_in_content

SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}


@method
class SharegptExporter(RecordExporter):
    """Conversations of from and value, with system and tools, as LLaMA-Factory reads them.

    sharegpt/train-DIGEST.jsonl and sharegpt/dataset_info.json. Calls of tools are turns `function_call`.
    """

    version: ClassVar[int] = 1

    method: Literal["sharegpt"] = "sharegpt"

    def unfit(self, row: Row) -> str | None:
        """Return what of the row turns of one text each cannot hold."""
        _, turns = split_system(row["messages"])
        if not alternates(turns):
            return "their turns do not alternate"
        if any(turn.get("tool_calls") and turn["content"].strip() for turn in turns):
            return "they have turns with both text and calls of tools"
        return None

    def record(self, row: Row) -> Record:
        """Return the turns, system prompt and tools."""
        system, turns = split_system(row["messages"])
        conversations = [_turn(turn) for turn in turns]
        return {"conversations": conversations, "system": system, "tools": row["tools"] or ""}

    def losses(self, row: Row) -> Iterator[str]:
        """Yield what LLaMA-Factory's files do not say."""
        yield from lost_marks(row)
        yield from super().losses(row)

    def companions(self, data: Path) -> list[Path]:
        """Write dataset_info.json."""
        columns = {"messages": "conversations", "system": "system", "tools": "tools"}
        return [write_dataset_info(data, {"formatting": "sharegpt", "columns": columns})]


def _turn(message: Message) -> Record:
    calls = message.get("tool_calls")
    if not calls:
        return {"from": SPEAKERS[message["role"]], "value": reasoning_in_content(message)}
    functions = [
        {"name": call["name"], "arguments": parse_arguments(call["arguments"])} for call in calls
    ]
    value = orjson.dumps(functions if len(functions) > 1 else functions[0]).decode()
    return {"from": "function_call", "value": reasoning_in_content({**message, "content": value})}
