"""Lists of turns, in the forms that data sets give them.

{"messages": [{"role": "user", "content": "..."}, ...]}          messages; also as a JSON string
{"conversations": [{"from": "human", "value": "..."}, ...]}      sharegpt
{"contents": [{"role": "user", "parts": [{"text": "..."}]}]}     gemini
{"conversation": [{"human": "...", "assistant": "..."}]}         turns by pairs
{"conversations": ["...", "..."]}                                strings: user and assistant by turns
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from curate.core.jsontext import JsonLimit, parse_json
from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.core.rows import ROLES, Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.roles import CALLS, ROLE_MAP, map_role
from curate.pool.layouts.texts import is_repeated
from curate.pool.layouts.unread import (
    MEDIA_FIELDS,
    MESSAGE_FIELDS,
    REASONING_FIELDS,
    TURN_TEXTS,
    check_turn,
)

# The key of a turn's role, and the one under which such a turn has its text.
TURN_KEYS = {"role": "content", "from": "value", "speaker": "text", "author": "content"}
# Further names of lists of strings.
STRING_FIELDS = ("data",)
FIELDS = frozenset((*MESSAGE_FIELDS, *STRING_FIELDS))
TEXT_TYPES = (None, "text", "input_text", "output_text")
NO_TEXT = ("functionCall", "functionResponse", "inlineData", *MEDIA_FIELDS, *REASONING_FIELDS)


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
    if _are_strings(turns) and len(turns) > 1:
        texts = enumerate(turns)
        return ConversationTurns(
            [_turn(("user", "assistant")[i % 2], text) for i, text in texts], {field}
        )
    messages: list[Message] = []
    extras = []
    for i, turn in enumerate(turns):
        extras.append(_read_turn(turn, f"{field}[{i}]", roles, messages))
    return ConversationTurns(messages, {field}, {field: extras} if any(extras) else {})


def _read_turn(turn: Any, where: str, roles: Roles, messages: list[Message]) -> dict[str, Any]:
    """Add what a turn says to the messages; return what else it has."""
    if not isinstance(turn, dict):
        raise RecordFault(Reason.WRONG_TYPE, where)
    check_turn(turn, where)
    role_key = next((key for key in TURN_KEYS if turn.get(key) is not None), None)
    if role_key is None:
        if pair := _spoken_by_key(turn, roles):
            messages += [_turn(role, text) for role, text in pair]
            return {}
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.role")
    keys = (TURN_KEYS[role_key], *sorted(TURN_TEXTS))
    text_key = next((key for key in keys if turn.get(key) is not None), None)
    if text_key is None:
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.{TURN_KEYS[role_key]}")
    name = turn[role_key]
    if not isinstance(name, str):
        raise RecordFault(Reason.WRONG_TYPE, f"{where}.{role_key}")
    if name in CALLS and name not in roles:
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, f"{where}.{role_key} = {name!r}")
    message = _turn(map_role(name, roles), content_text(turn[text_key], f"{where}.{text_key}"))
    messages.append(message)
    extras = {k: v for k, v in turn.items() if k not in (role_key, text_key)}
    for key in TURN_TEXTS & extras.keys():
        if not is_repeated(extras[key], [message]):
            raise RecordFault(Reason.UNREAD_FIELD, f"{where}.{key}")
    return extras


def _spoken_by_key(turn: Mapping[str, JSON], roles: Roles) -> list[tuple[str, str]]:
    """Return role and text of a turn whose keys are its roles; nothing if it is none."""
    names = {key: map_role(key, roles) for key in turn}
    if not turn or not all(role in ROLES for role in names.values()):
        return []
    texts = [(names[key], text) for key, text in turn.items() if isinstance(text, str)]
    if len(texts) < len(turn) or len({role for role, _ in texts}) < len(texts):
        return []
    return sorted(texts, key=lambda spoken: ROLES.index(spoken[0]))


def content_text(content: Any, where: str, between: str = "") -> str:
    """Return the text of a turn: a text, or parts that are all text, with this between them.

    Raises:
        RecordFault: it holds anything else.
    """
    if isinstance(content, str):
        return content
    if isinstance(content, dict) and isinstance(content.get("parts"), list):
        content = content["parts"]
    if not isinstance(content, list):
        raise RecordFault(Reason.WRONG_TYPE, where)
    texts = [part["text"] for part in content if _is_text_part(part)]
    if len(texts) < len(content):
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, where)
    return between.join(texts)


def _is_text_part(part: Any) -> bool:
    if not isinstance(part, dict) or not isinstance(part.get("text"), str):
        return False
    plain = part.get("type") in TEXT_TYPES and not part.get("thought")
    return plain and not any(part.get(key) for key in NO_TEXT)


def _turn(role: str, text: str) -> Message:
    return {"role": role, "content": text}


def unpacked_turns(value: Any) -> Any:
    """Return a list of turns that is written as a JSON string; any other value as it is."""
    turns = unpacked(value)
    listed = isinstance(turns, list) and turns and isinstance(turns[0], dict)
    return turns if listed and any(key in turns[0] for key in ("role", "from")) else value


def unpacked(value: Any) -> Any:
    """Return a value, parsed if it is the JSON text of a list or an object."""
    if not isinstance(value, str) or not value.lstrip().startswith(("[", "{")):
        return value
    try:
        return parse_json(value.encode())
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
    return "pairs" if first and all(str(key).lower() in ROLE_MAP for key in first) else None


def _are_strings(value: list[Any]) -> bool:
    return bool(value) and all(isinstance(text, str) for text in value)
