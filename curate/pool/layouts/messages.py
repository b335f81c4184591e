"""Lists of turns, in the forms that data sets give them.

{"messages": [{"role": "user", "content": "..."}, ...]}          messages; also as a JSON string
{"conversations": [{"from": "human", "value": "..."}, ...]}      sharegpt
{"contents": [{"role": "user", "parts": [{"text": "..."}]}]}     gemini
{"conversation": [{"human": "...", "assistant": "..."}]}         turns by pairs; also input, output
{"conversations": ["...", "..."]}                                strings: user and assistant by turns
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from curate.core.jsontext import JsonLimit
from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.core.rows import ROLES, Message
from curate.pool.containers.jsonvalue import parse_record
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.roles import CALLS, ROLE_MAP, map_role
from curate.pool.layouts.turn import TURN_KEYS, ParsedTurn, read_turn
from curate.pool.layouts.unread import MESSAGE_FIELDS, check_turn

# What the JSON text of a list or an object may begin with.
JSON_STARTS = "[{ \t\r\n"
# Further names of lists of strings.
STRING_FIELDS = ("data",)
# Keys of a round, beside the names of roles.
PAIR_KEYS = {
    **{"input": "user", "prompt": "user", "question": "user", "instruction": "user"},
    **{"output": "assistant", "response": "assistant", "answer": "assistant"},
}
FIELDS = frozenset((*MESSAGE_FIELDS, *STRING_FIELDS))


@dataclass(frozen=True)
class MessagesLayout:
    """Lists of turns of one form under a usual name."""

    name: str

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the turns."""
        if FIELDS.isdisjoint(record):
            return ()
        for field in (*MESSAGE_FIELDS, *STRING_FIELDS):
            form = _form_of(record[field]) if field in record else None
            # The first name says what it holds, whatever that is.
            if field == "messages" and field in record and form is None:
                form = "messages"
            if form == self.name and (field in MESSAGE_FIELDS or form == "strings"):
                return (field,)
        return ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: the list or a turn is not as it must be.
        """
        (field,) = self.matched_fields(record)
        return read_listed(record[field], field, roles)


LISTED = tuple(MessagesLayout(name) for name in ("messages", "sharegpt", "pairs", "strings"))


def listed_layout(record: Record) -> MessagesLayout | None:
    """Return the layout of a record's list of turns; None if it has none."""
    return next((layout for layout in LISTED if layout.matched_fields(record)), None)


def read_listed(value: Any, field: str, roles: Roles) -> ConversationTurns:
    """Return the turns of a list; what they have beside role and text is kept apart.

    Raises:
        RecordFault: it is no list of turns.
    """
    if value is None:
        raise RecordFault(Reason.MISSING_FIELD, field)
    turns = unpacked(value)
    if not isinstance(turns, list):
        raise RecordFault(Reason.WRONG_TYPE, field)
    if not turns:
        raise RecordFault(Reason.NO_USER_TURN, field)
    if (plain := _plain_turns(turns, roles)) is not None:
        return ConversationTurns(plain, {field})
    if _are_strings(turns) and len(turns) > 1:
        texts = enumerate(turns)
        return ConversationTurns(
            [_turn(("user", "assistant")[i % 2], text) for i, text in texts], {field}
        )
    return _joined([_read(turn, f"{field}[{i}]", roles) for i, turn in enumerate(turns)], field)


def _plain_turns(turns: list[Any], roles: Roles) -> list[Message] | None:
    """Return turns that are a role and a text each, as most are; None if one has more or less."""
    messages: list[Message] = []
    for turn in turns:
        if not isinstance(turn, dict) or len(turn) != 2:
            return None
        role_key = next((key for key in TURN_KEYS if key in turn), "role")
        name, text = turn.get(role_key), turn.get(TURN_KEYS[role_key])
        if not isinstance(name, str) or not isinstance(text, str) or name in CALLS:
            return None
        messages.append({"role": map_role(name, roles), "content": text})
    return messages


def _joined(turns: Sequence[ParsedTurn], field: str) -> ConversationTurns:
    """Return turns one after the other: calls and reasoning with the answers that they belong to.

    Raises:
        RecordFault: reasoning has no answer behind it, or tools are declared twice.
    """
    extras = [turn.extras for turn in turns]
    example = ConversationTurns([], {field}, {field: extras} if any(extras) else {})
    thought = ""
    for i, turn in enumerate(turns):
        if turn.tools and example.tools:
            raise RecordFault(Reason.UNREAD_FIELD, f"{field}[{i}]: tools are declared twice")
        example.tools = example.tools or turn.tools
        if turn.thought:
            thought = "\n".join(filter(None, [thought, turn.messages[-1]["content"]]))
            continue
        first = turn.messages[0]
        if thought and first["role"] == "assistant":
            first["reasoning"] = "\n".join(filter(None, [thought, first.get("reasoning")]))
            thought = ""
        before = example.turns[-1] if example.turns else None
        if turn.joins and before is not None and before["role"] == "assistant":
            before["tool_calls"] = [
                *(before.get("tool_calls") or ()),
                *(first.get("tool_calls") or ()),
            ]
        else:
            example.turns += turn.messages
    if thought:
        raise RecordFault(Reason.UNREAD_FIELD, f"{field}: reasoning without an answer behind it")
    return example


def _read(turn: Any, where: str, roles: Roles) -> ParsedTurn:
    """Return what a turn of a list says.

    Raises:
        RecordFault: it is none.
    """
    if not isinstance(turn, dict):
        raise RecordFault(Reason.WRONG_TYPE, where)
    role_key = next((key for key in TURN_KEYS if turn.get(key) is not None), None)
    if role_key is not None:
        return read_turn(turn, where, role_key, roles)
    check_turn(turn, where)
    if pair := _spoken_by_key(turn, roles):
        return ParsedTurn([_turn(role, text) for role, text in pair])
    raise RecordFault(Reason.MISSING_FIELD, f"{where}.role")


def _spoken_by_key(turn: Mapping[str, JSON], roles: Roles) -> list[tuple[str, str]]:
    """Return role and text of a turn whose keys are its roles; nothing if it is none."""
    names = {key: PAIR_KEYS.get(key) or map_role(key, roles) for key in turn}
    if not turn or not all(role in ROLES for role in names.values()):
        return []
    texts = [(names[key], text) for key, text in turn.items() if isinstance(text, str)]
    if len(texts) < len(turn) or len({role for role, _ in texts}) < len(texts):
        return []
    return sorted(texts, key=lambda spoken: ROLES.index(spoken[0]))


def _turn(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def unpacked_turns(value: Any) -> Any:
    """Return a list of turns that is written as a JSON string; any other value as it is."""
    turns = unpacked(value)
    listed = isinstance(turns, list) and turns and isinstance(turns[0], dict)
    return turns if listed and any(key in turns[0] for key in ("role", "from")) else value


def unpacked(value: Any) -> Any:
    """Return a value, parsed if it is the JSON text of a list or an object."""
    if not isinstance(value, str) or value[:1] not in JSON_STARTS:
        return value
    if not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_record(value.encode())
    except (orjson.JSONDecodeError, JsonLimit, UnicodeEncodeError):
        return value


def _form_of(value: Any) -> str | None:
    """Return the form of a list of turns, as its first one tells; None if it is no such list."""
    turns = unpacked(value)
    if not isinstance(turns, list) or not turns:
        return None
    first = turns[0]
    if not isinstance(first, dict):
        return "strings" if len(turns) > 1 and _are_strings(turns) else None
    if "from" in first:
        return "sharegpt"
    if any(key in first for key in TURN_KEYS):
        return "messages"
    by_role = all(key in PAIR_KEYS or str(key).lower() in ROLE_MAP for key in first)
    return "pairs" if first and by_role else None


def _are_strings(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(text, str) for text in value)
