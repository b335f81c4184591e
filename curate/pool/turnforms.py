"""Turns and tools of a row in the form of OpenAI's API, which most trainers and chat templates read.

{"role": "assistant", "content": "", "tool_calls": [{"id": null, "name": "add", "arguments": "{}"}],
"reasoning": null, "tool_call_id": null, "name": null, "weight": null}

    {"role": "assistant", "content": "",
     "tool_calls": [{"type": "function", "function": {"name": "add", "arguments": {}}}]}
"""

from collections.abc import Iterable, Mapping
from typing import Any

import orjson
import polars as pl
import pyarrow as pa

from curate.core.jsontypes import JSON
from curate.core.rows import Message, ToolCall

Record = dict[str, Any]
Row = dict[str, Any]
UNMARKED = "answers of weight 0 are not marked, so trainers learn them"
# What a turn may have beside role and content: Arrow's types of it, as a frame of rows has them.
CALL_TYPE = pa.struct(
    [
        ("id", pa.string()),
        ("type", pa.string()),
        ("function", pa.struct([("name", pa.string()), ("arguments", pa.json_())])),
    ]
)
FURTHER_TYPES = {
    "reasoning_content": pa.string(),
    "tool_calls": pa.list_(CALL_TYPE),
    "tool_call_id": pa.string(),
    "name": pa.string(),
    "weight": pa.int64(),
}
FURTHER_KEYS = {key: key for key in FURTHER_TYPES} | {"reasoning_content": "reasoning"}


def openai_turns(messages: Iterable[Message], *, text_arguments: bool = False) -> list[Record]:
    """Return turns without what is null.

    Args:
        messages: the turns.
        text_arguments: the arguments of calls are JSON text, as OpenAI has them; else objects, as chat
            templates read them.
    """
    return [_openai_turn(message, text_arguments) for message in messages]


def _openai_turn(message: Message, text_arguments: bool) -> Record:
    turn: Record = {"role": message["role"], "content": message["content"]}
    if reasoning := message.get("reasoning"):
        turn["reasoning_content"] = reasoning
    if calls := message.get("tool_calls"):
        turn["tool_calls"] = [_openai_call(call, text_arguments) for call in calls]
    if name := message.get("name"):
        turn["name"] = name
    if call_id := message.get("tool_call_id"):
        turn["tool_call_id"] = call_id
    if message.get("weight") == 0:
        turn["weight"] = 0
    return turn


def _openai_call(call: ToolCall, text_arguments: bool) -> Record:
    arguments = call["arguments"] if text_arguments else parse_arguments(call["arguments"])
    named = {"id": call["id"]} if call.get("id") else {}
    function = {"name": call["name"], "arguments": arguments}
    return {**named, "type": "function", "function": function}


def parse_arguments(text: str) -> Any:
    """Return the arguments of a call; a text that is no JSON as it is."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return text


def tool_schemas(text: str | None) -> list[Record] | None:
    """Return the functions of a row's `tools`, None if there are none."""
    return orjson.loads(text) if text else None


def function_schema(schema: JSON) -> JSON:
    """Return the schema of a tool in OpenAI's form, so that the same tools are one text."""
    if isinstance(schema, Mapping) and "function" not in schema and "name" in schema:
        return {"type": "function", "function": schema}
    return schema


def tools_value(row: Row) -> Record:
    """Return the tools of a row, where it has some."""
    tools = tool_schemas(row["tools"])
    return {"tools": tools} if tools else {}


def tools_field(rows: pl.DataFrame) -> list[tuple[str, pa.DataType]]:
    """Return the Arrow field of tools, where rows have some."""
    return [("tools", pa.json_())] if rows["tools"].is_not_null().any() else []


def turns_type(*columns: pl.Series) -> pa.DataType:
    """Return Arrow's type of turns, with those further keys alone that a turn of the columns has."""
    turns = pl.concat([column.drop_nulls().explode() for column in columns]).struct.unnest()
    further = [
        (k, v) for k, v in FURTHER_TYPES.items() if turns[FURTHER_KEYS[k]].is_not_null().any()
    ]
    return pa.list_(pa.struct([("role", pa.string()), ("content", pa.string()), *further]))


def reasoning_in_content(message: Message) -> str:
    """Return a turn's content, its reasoning before it in the tags by which data sets mark it."""
    reasoning = message.get("reasoning")
    content = message["content"]
    return f"<think>\n{reasoning.strip()}\n</think>\n\n{content}" if reasoning else content


def has_calls(row: Row) -> bool:
    """Return whether a row has calls of tools or their results."""
    return any(m["role"] == "tool" or m.get("tool_calls") for m in row["messages"])


def has_unlearned(row: Row) -> bool:
    """Return whether a row has answers of weight 0, which are context and never trained on."""
    return any(m["role"] == "assistant" and m["weight"] == 0 for m in row["messages"])
