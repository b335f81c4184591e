"""Calls of tools that cannot be right: no JSON, no such tool, wrong arguments, made-up values.

{"name": "ferries", "parameters": {"properties": {"to": {"type": "string"}}, "required": ["to"]}}

    ferry {"to": "Skarv"}        no tool `ferry`
    ferries {}                   ferries: 'to' is a required property
    ferries {"to": 7}            ferries.to: 7 is not of type 'string'
    ferries {"to": "IS 4471"}    ferries.to: `IS 4471`, where no turn before says so

Calls are those of `tool_calls`, and those that a text has between <tool_call> tags. Where a row declares
no tools, a call's name has to stand in a turn before it. Types are those of JSON Schema, and the names
that Python gives them (`str, optional`), as some data sets write them.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from curate.core.jsontypes import JSON
from curate.core.lazy import lazy_module
from curate.core.rows import Message, turn_text

if TYPE_CHECKING:
    import jsonschema
else:
    jsonschema = lazy_module("jsonschema")

MARKED_CALL = re.compile(r"<tool_call>\s*(.*?)\s*(?:</tool_call>|\Z)", re.S)
TYPES = {
    **{"str": "string", "text": "string", "int": "integer", "long": "integer", "float": "number"},
    **{"double": "number", "bool": "boolean", "dict": "object", "map": "object", "list": "array"},
    **{"tuple": "array", "set": "array"},
}
JSON_TYPES = frozenset({"string", "integer", "number", "boolean", "object", "array", "null"})
# Numbers of three digits or more, addresses: what nobody knows who was not told. Dates are reckoned.
DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}|\d{1,2}:\d{2}")
DIGITS = re.compile(r"\d{3,}")
ADDRESS = re.compile(r"\S+@\S+\.\S+|https?://\S+")


@dataclass(frozen=True)
class DeclaredFunction:
    """A function that may be called: the JSON Schema of its arguments, and all that is said of it."""

    schema: dict[str, Any]
    text: str


def declared_functions(tools: str | None) -> dict[str, DeclaredFunction]:
    """Return the functions that may be called, by their names."""
    functions = [tool.get("function", tool) for tool in (orjson.loads(tools) if tools else [])]
    return {
        function["name"]: DeclaredFunction(
            argument_schema(function), squeeze(orjson.dumps(function).decode())
        )
        for function in functions
        if isinstance(function, Mapping) and isinstance(function.get("name"), str)
    }


def _calls(messages: Sequence[Message]) -> Iterator[tuple[int, str, Any]]:
    """Yield turn, name and arguments of each call; the name is "" where a text is no JSON of a call."""
    for i, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        for call in message.get("tool_calls") or ():
            yield i, call["name"], _json(call["arguments"])
        for text in MARKED_CALL.findall(message["content"]):
            value = _json(text)
            for call in value if isinstance(value, list) else [value]:
                named = isinstance(call, Mapping) and isinstance(call.get("name"), str)
                yield (i, call["name"], call.get("arguments", {})) if named else (i, "", text)


def _json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def call_faults(
    messages: Sequence[Message], functions: Mapping[str, DeclaredFunction]
) -> Iterator[str]:
    """Yield what is wrong with the calls of a conversation, call by call."""
    for i, name, arguments in _calls(messages):
        if not name:
            yield f"{arguments}: no JSON of a call"
        elif not isinstance(arguments, Mapping):
            yield f"{name}: its arguments are no JSON object"
        elif name in functions:
            yield from _argument_faults(name, arguments, functions[name].schema)
        elif functions or not any(name in turn_text(turn) for turn in messages[:i]):
            yield f"no tool {name}"


def _argument_faults(
    name: str, arguments: Mapping[str, JSON], schema: dict[str, Any]
) -> Iterator[str]:
    for unknown in arguments.keys() - schema["properties"].keys():
        if schema["properties"]:
            yield f"{name}: it has no argument {unknown}"
    try:
        errors = list(jsonschema.Draft202012Validator(schema).iter_errors(dict(arguments)))
    except Exception:
        # A schema that is none says nothing about the call.
        return
    for error in errors:
        place = ".".join([name, *map(str, error.absolute_path)])
        yield f"{place}: {error.message}"


def argument_schema(function: Mapping[str, JSON]) -> dict[str, Any]:
    """Return the JSON Schema of a function's arguments, its types by their names in JSON."""
    parameters: Any = next(
        (function[key] for key in ("parameters", "input_schema", "arguments") if function.get(key)),
        {},
    )
    if not isinstance(parameters, Mapping):
        return {"properties": {}}
    if isinstance(parameters.get("properties"), Mapping):
        required = parameters.get("required")
        return {
            **_with_json_types(parameters),
            "required": required if isinstance(required, list) else [],
        }
    # Arguments without a schema around them, as xLAM writes them.
    properties = {key: value for key, value in parameters.items() if isinstance(value, Mapping)}
    optional = [
        key
        for key, value in properties.items()
        if "default" in value
        or "optional" in str(value.get("type"))
        or value.get("required") is False
    ]
    return {
        "properties": {key: _with_json_types(value) for key, value in properties.items()},
        "required": [key for key in properties if key not in optional],
    }


def _with_json_types(schema: Any) -> Any:
    """Return a schema with the names that JSON Schema has for types, without those it has not."""
    if isinstance(schema, list):
        return [_with_json_types(part) for part in schema]
    if not isinstance(schema, Mapping):
        return schema
    named = {key: _with_json_types(value) for key, value in schema.items() if key != "required"}
    kind = schema.get("type")
    if isinstance(kind, str):
        kind = re.split(r"[\[,( ]", kind.strip().lower())[0]
        kind = TYPES.get(kind, kind)
        named["type"] = kind
        if kind not in JSON_TYPES:
            del named["type"]
    if isinstance(schema.get("required"), list):
        named["required"] = schema["required"]
    return named


def made_up_values(
    messages: Sequence[Message], functions: Mapping[str, DeclaredFunction]
) -> Iterator[str]:
    """Yield the values in calls that neither a turn before them says nor what is declared."""
    for i, name, arguments in _calls(messages):
        if not isinstance(arguments, Mapping):
            continue
        before = squeeze("\n".join(map(turn_text, messages[:i])))
        declared = functions[name].text if name in functions else ""
        for place, value in _leaves(arguments, name):
            if find_unsaid(value, f"{before}\n{declared}") is not None:
                yield f"{place}: {value}"


def find_unsaid(value: str, squeezed: str) -> str | None:
    """Return the first address or number of three digits or more that a squeezed text does not say."""
    pieces: list[str] = ADDRESS.findall(value)
    pieces = pieces or DIGITS.findall(DATE.sub(" ", value).replace(",", ""))
    return next((piece for piece in pieces if squeeze(piece) not in squeezed), None)


def squeeze(text: str) -> str:
    """Return a text in small letters, without the commas and blanks within numbers."""
    return re.sub(r"(?<=\d)[ ,](?=\d)", "", text.casefold())


def _leaves(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _leaves(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _leaves(inner, f"{place}[{i}]")
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield place, str(value)
