"""Conversations as MOSS writes them: turns by number with marks around each text, or one text of them.

{"meta_instruction": "...", "chat": {"turn_1": {"Human": "<|Human|>: Hi<eoh>", "Inner Thoughts":
 "<|Inner Thoughts|>: None<eot>", "Commands": "<|Commands|>: None<eoc>", "Tool Responses":
 "<|Results|>: None<eor>", "MOSS": "<|MOSS|>: Hello<eom>"}}}                                  MOSS-003
{"prefix": "...", "plain_text": "[Human]: Hi<eoh> [MOSS]: Hello<eoa>"}                        MOSS-002

What stands before the turns is the system turn, an inner thought the reasoning of the answer.
"""

import re
from typing import Any

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles

CHAT, PLAIN = "chat", "plain_text"
# The field that holds the turns, and the one with what stands before them.
SYSTEMS = {CHAT: "meta_instruction", PLAIN: "prefix"}
HUMAN, THOUGHTS, MOSS = "Human", "Inner Thoughts", "MOSS"
# A call is program text without names of its arguments, so no turn can hold it.
CALLS = ("Commands", "Tool Responses")
NUMBERED = re.compile(r"turn_(\d+)")
MARKED = re.compile(r"\s*<\|[A-Za-z ]+\|>:(.*?)(?:<eo[a-z]>)?\s*", re.S)
PLAIN_TURN = re.compile(r"\s*\[(Human|MOSS)\]:(.*?)<eo[a-z]>\s*", re.S)


class MossLayout:
    """Turns of Human and MOSS by number, or one after the other in a text."""

    name = "moss"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the field with the turns."""
        chat, plain = record.get(CHAT), record.get(PLAIN)
        if isinstance(chat, dict) and chat and all(map(NUMBERED.fullmatch, chat)):
            return (CHAT,)
        return (PLAIN,) if isinstance(plain, str) and PLAIN_TURN.match(plain) else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns.

        Raises:
            RecordFault: a turn calls a tool, lacks its text, or has text between it and the next.
        """
        (field,) = self.matched_fields(record)
        value: Any = record[field]
        turns = _numbered_turns(value) if field == CHAT else _plain_turns(value)
        example = ConversationTurns(turns, {field})
        system = record.get(SYSTEMS[field])
        if isinstance(system, str):
            example.used.add(SYSTEMS[field])
            if system.strip():
                turns.insert(0, {"role": "system", "content": system.strip()})
        return example


def _numbered_turns(chat: dict[str, Any]) -> list[Message]:
    turns: list[Message] = []
    for name in sorted(chat, key=lambda name: int(name.removeprefix("turn_"))):
        turn, where = chat[name], f"{CHAT}.{name}"
        if not isinstance(turn, dict):
            raise RecordFault(Reason.WRONG_TYPE, where)
        if unread := [key for key in turn if key in CALLS and _text(turn, key, where)]:
            raise RecordFault(
                Reason.UNREAD_FIELD, f"{where}.{unread[0]}: a call without names of its arguments"
            )
        answer: Message = {"role": "assistant", "content": _text(turn, MOSS, where)}
        if THOUGHTS in turn and (thought := _text(turn, THOUGHTS, where)):
            answer["reasoning"] = thought
        turns += [{"role": "user", "content": _text(turn, HUMAN, where)}, answer]
    return turns


def _text(turn: dict[str, Any], key: str, where: str) -> str:
    """Return a text of a turn without its marks; nothing where it says None."""
    value = turn.get(key)
    if not isinstance(value, str):
        raise RecordFault(Reason.MISSING_FIELD, f"{where}.{key}")
    marked = MARKED.fullmatch(value)
    text = (marked[1] if marked else value).strip()
    return "" if text == "None" and key not in (HUMAN, MOSS) else text


def _plain_turns(text: str) -> list[Message]:
    turns: list[Message] = []
    at = 0
    while at < len(text):
        turn = PLAIN_TURN.match(text, at)
        if turn is None:
            rest = text[at : at + 60]
            raise RecordFault(Reason.UNREAD_FIELD, f"{PLAIN}: text between turns ({rest!r})")
        role = "user" if turn[1] == HUMAN else "assistant"
        turns.append({"role": role, "content": turn[2].strip()})
        at = turn.end()
    return turns
