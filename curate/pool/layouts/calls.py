r"""Calls of tools and schemas of tools, in the forms that data sets and APIs give them.

{"id": "c1", "type": "function", "function": {"name": "search", "arguments": "{\"q\": 1}"}}       OpenAI
{"name": "search", "arguments": {"q": "tern"}}                              xLAM, sharegpt
{"type": "tool_use", "id": "c1", "name": "search", "input": {"q": "tern"}}                    Anthropic
{"functionCall": {"name": "search", "args": {"q": "tern"}}}                                       Gemini
<tool_call>{"name": "search", "arguments": {"q": "tern"}}</tool_call>                              Hermes
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from curate.core.jsontext import JsonLimit, dump_json, parse_json
from curate.core.reasons import Reason
from curate.core.rows import ToolCall
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault
from curate.pool.layouts.texts import is_repeated, texts_of
from curate.pool.turnforms import function_schema

TOOLS_FIELDS = ("tools", "functions")
ARGUMENTS = ("arguments", "parameters", "input", "args")
MARKED_CALL = re.compile(r"\s*<tool_call>\s*(.*?)\s*</tool_call>\s*", re.S)


def is_calls(value: Any) -> bool:
    """Return whether a value is a list of calls, each with a name and arguments."""
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(call, Mapping) and "name" in call and any(key in call for key in ARGUMENTS)
            for call in value
        )
    )


def read_calls(value: Any, where: str) -> list[ToolCall]:
    """Return the calls in a value: a list, one call, or the text of either.

    Raises:
        RecordFault: it holds something else.
    """
    if isinstance(value, str):
        value = _parsed_text(value, where)
    calls = value if isinstance(value, list) else [value]
    places = (f"{where}[{i}]" for i in range(len(calls)))
    return [_read_call(call, place) for call, place in zip(calls, places, strict=True)]


def _parsed_text(text: str, where: str) -> Any:
    marked = MARKED_CALL.findall(text)
    if marked and not MARKED_CALL.sub("", text):
        return [_parse(inner, where) for inner in marked]
    return _parse(text, where)


def _parse(text: str, where: str) -> Any:
    try:
        return parse_json(text.encode())
    except (orjson.JSONDecodeError, JsonLimit, UnicodeEncodeError) as error:
        raise RecordFault(Reason.WRONG_TYPE, f"{where}: no JSON of a call") from error


def _read_call(call: Any, where: str) -> ToolCall:
    inner = call
    for wrapper in ("function", "functionCall", "function_call"):
        if isinstance(inner, Mapping) and isinstance(inner.get(wrapper), Mapping):
            inner = inner[wrapper]
    if not isinstance(inner, Mapping) or not isinstance(inner.get("name"), str):
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.name")
    arguments: Any = next((inner[key] for key in ARGUMENTS if inner.get(key) is not None), {})
    if isinstance(arguments, str):
        arguments = _parse(arguments, f"{where}.arguments") if arguments.strip() else {}
    if not isinstance(arguments, Mapping):
        raise RecordFault(Reason.WRONG_TYPE, f"{where}.arguments")
    own_id = call.get("id") if isinstance(call.get("id"), str) else inner.get("id")
    return {
        "id": own_id if isinstance(own_id, str) else None,
        "name": inner["name"],
        "arguments": dump_json(arguments),
    }


def add_tools(example: ConversationTurns, record: Record) -> None:
    """Keep the tools that a record declares, unless its turns say all of them.

    Raises:
        RecordFault: they are no list of schemas.
    """
    if record.keys().isdisjoint(TOOLS_FIELDS):
        return
    for field in TOOLS_FIELDS:
        value = record.get(field)
        if field in example.used or not value or _is_spelled_out(value, example):
            continue
        tools = read_tools(value, field)
        if tools is not None and example.tools is not None and tools != example.tools:
            raise RecordFault(Reason.UNREAD_FIELD, f"{field}: tools are declared elsewhere too")
        example.tools = tools or example.tools
        example.used.add(field)


def _is_spelled_out(tools: Any, example: ConversationTurns) -> bool:
    """Return whether the system turns have all texts of schemas and the names of all parameters.

    A turn that calls a tool says its name as well, and declares nothing.
    """
    system = [turn for turn in example.turns if turn["role"] == "system"]
    texts = [*texts_of(tools), *_parameter_names(tools)]
    return not texts or (bool(system) and is_repeated(texts, system))


def _parameter_names(schema: Any) -> Iterator[str]:
    """Yield the names of the parameters in schemas of tools."""
    if isinstance(schema, list):
        for inner in schema:
            yield from _parameter_names(inner)
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        yield from properties if isinstance(properties, Mapping) else ()
        for inner in schema.values():
            yield from _parameter_names(inner)


def read_tools(value: Any, where: str) -> str | None:
    """Return the schemas of tools as JSON, None if there are none.

    Raises:
        RecordFault: they are no list of objects, nor the JSON text of one.
    """
    if isinstance(value, str):
        value = _parse(value, where)
    tools = [value] if isinstance(value, Mapping) else value
    if not isinstance(tools, list):
        raise RecordFault(Reason.WRONG_TYPE, where)
    schemas = [_parse(tool, where) if isinstance(tool, str) else tool for tool in tools]
    if not all(isinstance(schema, Mapping) for schema in schemas):
        raise RecordFault(Reason.WRONG_TYPE, where)
    return dump_json([function_schema(schema) for schema in schemas]) if schemas else None
