"""What LLaMA-Factory's loader asks of a data set: turns by turns, and dataset_info.json beside the file.

{"curated": {"file_name": "train-0a1b2c3d4e5f6071.jsonl", "formatting": "sharegpt", "columns": {...}}}
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import orjson

from curate.core.rows import Message
from curate.pool.turnforms import (
    UNMARKED,
    Record,
    Row,
    has_unlearned,
    parse_arguments,
    reasoning_in_content,
)

# The name of the data set in LLaMA-Factory's settings.
DATASET = "curated"
DATASET_INFO = "dataset_info.json"
SPEAKERS = {"user": "human", "assistant": "gpt", "tool": "observation"}


def write_dataset_info(data: Path, info: Mapping[str, object]) -> Path:
    """Write how LLaMA-Factory reads a file, beside it; return where."""
    path = data.with_name(DATASET_INFO)
    entry = {DATASET: {"file_name": data.name, **info}}
    path.write_bytes(orjson.dumps(entry, option=orjson.OPT_INDENT_2))
    return path


def split_system(messages: Sequence[Message]) -> tuple[str, Sequence[Message]]:
    """Return the system prompt that opens a conversation, "" without one, and the other turns."""
    if messages[0]["role"] == "system":
        return messages[0]["content"], messages[1:]
    return "", messages


def alternates(turns: Sequence[Message]) -> bool:
    """Return whether every second turn is the assistant's, which the loader asks for."""
    return all(
        (turn["role"] == "assistant") == bool(number % 2) and turn["role"] != "system"
        for number, turn in enumerate(turns)
    )


def sharegpt_fault(messages: Sequence[Message]) -> str | None:
    """Return what of a conversation turns of one text each cannot hold, None if they hold all."""
    _, turns = split_system(messages)
    if not alternates(turns):
        return "their turns do not alternate"
    if any(turn.get("tool_calls") and turn["content"].strip() for turn in turns):
        return "they have turns with both text and calls of tools"
    return None


def sharegpt_turn(message: Message) -> Record:
    """Return a turn as its speaker and its text; calls are the text of a turn of their own kind."""
    calls = message.get("tool_calls")
    if not calls:
        return {"from": SPEAKERS[message["role"]], "value": reasoning_in_content(message)}
    functions = [
        {"name": call["name"], "arguments": parse_arguments(call["arguments"])} for call in calls
    ]
    value = orjson.dumps(functions if len(functions) > 1 else functions[0]).decode()
    return {"from": "function_call", "value": reasoning_in_content({**message, "content": value})}


def lost_marks(row: Row) -> Iterator[str]:
    """Yield what the files have no mark for."""
    messages = row["messages"]
    if has_unlearned(row):
        yield UNMARKED
    if any(m["reasoning"] for m in messages):
        yield "reasoning opens the answers, in <think> tags"
    if any(m["name"] and m["role"] != "tool" for m in messages):
        yield "names of speakers are not in it"
