"""Calls of tools: which cannot be right, and which only look odd."""

from __future__ import annotations

import json
from typing import Any, cast

import polars as pl
import pytest

from curate.clean.heuristics.toolcalls import find_call_faults
from curate.core.rows import Message
from tests.conftest import frame, row, turns

FERRIES = {
    "name": "ferries",
    "parameters": {
        "type": "object",
        "properties": {
            "to": {"type": "string"},
            "seats": {"type": "integer"},
            "class": {"type": "string", "enum": ["deck", "cabin"]},
        },
        "required": ["to"],
    },
}
OPENAI = {"type": "function", "function": FERRIES}
XLAM = {
    "name": "ferries",
    "parameters": {
        "to": {"type": "str", "description": "a harbour"},
        "seats": {"type": "int, optional", "description": "how many"},
        "class": {"type": "List[str]", "default": "deck"},
    },
}


def faults(
    arguments: Any, tools: list[Any], name: str = "ferries", prompt: str = "To Skarv?"
) -> tuple[str | None, str | None]:
    call = {"id": None, "name": name, "arguments": json.dumps(arguments)}
    calling = cast(Message, {"role": "assistant", "content": "", "tool_calls": [call]})
    declared = json.dumps(tools) if tools else None
    rows = frame([row("a", [*turns(prompt), calling], tools=declared)])
    fault, value = find_call_faults(rows).row(0)
    return fault, value


@pytest.mark.parametrize("tools", [[FERRIES], [OPENAI], [XLAM]], ids=["bare", "openai", "xlam"])
@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        ({"to": "Skarv"}, None),
        ({"to": "Skarv", "seats": 2}, None),
        ({}, "ferries: 'to' is a required property"),
        ({"to": 7}, "ferries.to: 7 is not of type 'string'"),
        ({"to": "Skarv", "seats": "two"}, "ferries.seats: 'two' is not of type 'integer'"),
        ({"to": "Skarv", "speed": 9}, "ferries: it has no argument speed"),
        (["Skarv"], "ferries: its arguments are no JSON object"),
    ],
)
def test_arguments_are_held_against_the_declared_ones(
    tools: list[Any], arguments: Any, fault: str | None
) -> None:
    assert faults(arguments, tools)[0] == fault


def test_a_value_outside_of_an_enumeration_is_a_fault() -> None:
    fault, _ = faults({"to": "Skarv", "class": "bridge"}, [OPENAI])
    assert fault == "ferries.class: 'bridge' is not one of ['deck', 'cabin']"


def test_the_tool_has_to_be_declared_or_spoken_of() -> None:
    assert faults({}, [OPENAI], "ferry")[0] == "no tool ferry"
    assert faults({}, [], "ferry", prompt="Help.")[0] == "no tool ferry"
    assert faults({}, [], "ferry", prompt="You may call ferry(to).")[0] is None


@pytest.mark.parametrize(
    "schema", [{}, {"parameters": None}, {"parameters": {"type": 7}}, {"parameters": "to"}]
)
def test_a_tool_without_a_usable_schema_says_nothing_of_arguments(schema: dict[str, Any]) -> None:
    assert faults({"to": 7}, [{"name": "ferries", **schema}]) == (None, None)


@pytest.mark.parametrize(
    ("prompt", "value", "unsaid"),
    [
        ("Order 44713?", "44713", False),
        ("Order 44,713?", "44713", False),
        ("Order it.", "44713", True),
        ("Order it.", 44713, True),
        ("In May", "2026-05-02", False),
        ("At five", "17:00", False),
        ("Two", "12", False),
        ("Write to pat@skarv.no", "Pat@Skarv.no", False),
        ("Write to Pat", "pat@skarv.no", True),
        ("Look there", "https://skarv.no/x", True),
        ("To Skarv", "the harbour", False),
    ],
)
def test_numbers_and_addresses_have_to_be_said_before(
    prompt: str, value: Any, unsaid: bool
) -> None:
    tool = {"name": "ferries", "parameters": {"properties": {"to": {}}}}
    fault, made_up = faults({"to": value}, [tool], prompt=prompt)
    assert fault is None
    assert made_up == (f"ferries.to: {value}" if unsaid else None)


def test_what_a_tool_has_answered_counts_as_said() -> None:
    call = {"id": None, "name": "f", "arguments": '{"order": "44713"}'}
    calling = cast(Message, {"role": "assistant", "content": "", "tool_calls": [call]})
    before: list[Message] = [*turns("Where is it?"), {"role": "tool", "content": "order 44713"}]
    rows = frame([row("a", [*before, calling], tools='[{"name":"f"}]')])
    assert find_call_faults(rows).row(0) == (None, None)


def test_calls_within_the_text_are_read_too() -> None:
    texts = {
        '<tool_call>{"name": "ferries", "arguments": {"to": "Skarv"}}</tool_call>': None,
        '<tool_call>\n{"name": "ferry"}\n</tool_call>': "no tool ferry",
        "<tool_call>\n{'name': 'ferries'}\n</tool_call>": "{'name': 'ferries'}: no JSON of a call",
        '<tool_call>{"name": "ferries", "argu': '{"name": "ferries", "argu: no JSON of a call',
        "no call": None,
    }
    rows = frame([row(text, turns("a", text), tools=json.dumps([OPENAI])) for text in texts])
    assert find_call_faults(rows)["tool_fault"].to_list() == list(texts.values())


def test_rows_without_calls_have_no_fault() -> None:
    rows = frame([row("a", turns("a", "b")), row("b", turns("a", "b"), tools="[]")])
    assert find_call_faults(rows).null_count().row(0) == (2, 2)
    assert find_call_faults(rows.clear()).height == 0
    assert find_call_faults(rows).schema == {"tool_fault": pl.String, "tool_value": pl.String}
