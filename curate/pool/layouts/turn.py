r"""One turn of a list: role and text, and what it has of reasoning, calls, ids and weight.

{"role": "assistant", "content": null, "tool_calls": [...], "reasoning_content": "...", "weight": 0}
{"from": "function_call", "value": "{\"name\": \"search\", \"arguments\": {\"q\": \"tern\"}}"}
{"role": "assistant", "channel": "analysis", "content": "..."}      reasoning of the turn that follows
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.calls import TOOLS_FIELDS, read_calls, read_tools
from curate.pool.layouts.example import RecordFault, Roles
from curate.pool.layouts.parts import read_parts
from curate.pool.layouts.roles import CALLS, map_role
from curate.pool.layouts.texts import is_repeated
from curate.pool.layouts.unread import (
    REASONING_FIELDS,
    SPOKEN_FIELDS,
    TURN_TEXTS,
    check_turn,
    is_empty,
)

# The key of a turn's role, and the one under which such a turn has its text.
TURN_KEYS = {"role": "content", "from": "value", "speaker": "text", "author": "content"}
TEXT_KEYS = tuple(sorted(TURN_TEXTS))
# What reads as a part of the conversation beside the text of a turn as well.
SPOKEN_IN_TURN = TURN_TEXTS | SPOKEN_FIELDS
CALL_FIELDS = ("tool_calls", "function_call")
# All say whether a turn is trained on, the last one that it is not.
MASK_FIELD = "masked"
WEIGHT_FIELDS = ("weight", "train", "training", "loss", "loss_mask", "loss_weight", MASK_FIELD)
DETAIL_FIELDS = (*REASONING_FIELDS, *WEIGHT_FIELDS, "tool_call_id", "name")
ANALYSIS = "analysis"
# Reasoning before a call, as LLaMA-Factory writes both into one turn.
THOUGHT = re.compile(r"\s*<think>\n?(.*?)\n?</think>\s*(.*)", re.S)


@dataclass
class ParsedTurn:
    """What a turn of a list says: messages, the tools it declares, and what else it has.

    joins: it belongs to the assistant's turn before it, if there is one, whose calls it holds.
    thought: it is the reasoning of the turn that follows.
    """

    messages: list[Message]
    tools: str | None = None
    extras: dict[str, Any] = field(default_factory=dict)
    joins: bool = False
    thought: bool = False


def read_turn(turn: Mapping[str, JSON], where: str, role_key: str, roles: Roles) -> ParsedTurn:
    """Return what a turn with a role says.

    Raises:
        RecordFault: it has no text, or something that no turn can hold.
    """
    check_turn(turn, where)
    name = turn[role_key]
    if not isinstance(name, str):
        raise RecordFault(Reason.WRONG_TYPE, f"{where}.{role_key}")
    keys = (TURN_KEYS[role_key], *TEXT_KEYS)
    text_key = next((key for key in keys if turn.get(key) is not None), None)
    calls_key = next((key for key in CALL_FIELDS if turn.get(key)), None)
    if text_key is None and calls_key is None:
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.{TURN_KEYS[role_key]}")
    content = turn[text_key] if text_key else ""
    if name in CALLS and name not in roles:
        thought = THOUGHT.fullmatch(content) if isinstance(content, str) else None
        calls = read_calls(thought[2] if thought else content, f"{where}.{text_key}")
        message: Message = {"role": "assistant", "content": "", "tool_calls": calls}
        if thought:
            message["reasoning"] = thought[1]
        extras = _extras(turn, {role_key, text_key})
        return ParsedTurn([message], extras=extras, joins=not thought)
    used = {role_key, TURN_KEYS[role_key], text_key, calls_key, *DETAIL_FIELDS}
    parsed = _spoken(content, map_role(name, roles), f"{where}.{text_key}")
    message = parsed.messages[-1]
    if calls_key:
        calls = read_calls(turn[calls_key], f"{where}.{calls_key}")
        message["tool_calls"] = [*(message.get("tool_calls") or ()), *calls]
    _add_details(message, turn, where)
    parsed.tools = _declared_tools(turn, where)
    parsed.thought = turn.get("channel") == ANALYSIS
    if parsed.tools is not None:
        used |= {*TOOLS_FIELDS}
    parsed.extras = _extras(turn, used)
    for key in SPOKEN_IN_TURN & parsed.extras.keys():
        if not is_empty(parsed.extras[key]) and not is_repeated(parsed.extras[key], [message]):
            raise RecordFault(Reason.UNREAD_FIELD, f"{where}.{key}")
    return parsed


def _extras(turn: Mapping[str, JSON], used: set[str | None]) -> dict[str, Any]:
    """Return what a turn has beside what is used of it; a null says nothing."""
    return {key: value for key, value in turn.items() if key not in used and value is not None}


def _spoken(content: Any, role: str, where: str) -> ParsedTurn:
    """Return the messages of a content: what tools answered in it, then what is said."""
    parts = read_parts(content, where)
    if parts.results and not any(text.strip() for text in parts.texts) and not parts.calls:
        return ParsedTurn(parts.results)
    message: Message = {"role": role, "content": "".join(parts.texts)}
    if parts.reasoning:
        message["reasoning"] = "\n".join(parts.reasoning)
    if parts.calls:
        message["tool_calls"] = parts.calls
    return ParsedTurn([*parts.results, message])


def _add_details(message: Message, turn: Mapping[str, JSON], where: str) -> None:
    """Add reasoning, ids and weight of a turn to its message."""
    for key in REASONING_FIELDS:
        value = turn.get(key)
        if not value:
            continue
        if not isinstance(value, str):
            raise RecordFault(Reason.WRONG_TYPE, f"{where}.{key}")
        if message.get("reasoning") not in (None, value):
            raise RecordFault(Reason.UNREAD_FIELD, f"{where}.{key}: reasoning stands elsewhere too")
        message["reasoning"] = value
    if isinstance(call := turn.get("tool_call_id"), str) and call:
        message["tool_call_id"] = call
    if isinstance(name := turn.get("name"), str) and name:
        message["name"] = name
    _add_weight(message, turn, where)


def _add_weight(message: Message, turn: Mapping[str, JSON], where: str) -> None:
    """Add weight 0 to an answer that is not trained on."""
    for key in WEIGHT_FIELDS:
        weight = turn.get(key)
        if key == "loss" and not isinstance(weight, bool):
            # What a model's loss was is a number; whether a turn counts in it is yes or no.
            continue
        if key == MASK_FIELD and weight in (0, 1):
            weight = not weight
        if weight not in (None, 0, 1):
            raise RecordFault(Reason.UNREAD_FIELD, f"{where}.{key} = {weight!r:.40}: 0 or 1")
        if weight == 0 and message["role"] == "assistant":
            message["weight"] = 0


def _declared_tools(turn: Mapping[str, JSON], where: str) -> str | None:
    """Return the tools that a turn declares, as some data sets have them in the system's."""
    field = next((field for field in TOOLS_FIELDS if turn.get(field)), None)
    return read_tools(turn[field], f"{where}.{field}") if field else None
