"""A system prompt in a field of its own, put before the turns.

{"system": "Answer in Welsh.", "messages": [...]}
{"system_prompt": "...", "question": "...", "response": "..."}
{"system": [{"text": "..."}], "messages": [...]}
{"instructions": "...", "input": "...", "output": [...]}       OpenAI's Responses
"""

from typing import Any

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault
from curate.pool.layouts.parts import content_text
from curate.pool.layouts.unread import MESSAGE_FIELDS, SYSTEM_FIELDS

# A system prompt beside an `input` that is the prompt; elsewhere it may be one to people who label.
INSTRUCTIONS = "instructions"


def add_system(example: ConversationTurns, record: Record) -> None:
    """Put the system prompt of a record before the turns, unless they open with one.

    Raises:
        RecordFault: it is no text.
    """
    prompted = "input" in example.used and "instruction" not in example.used
    fields = (*SYSTEM_FIELDS, INSTRUCTIONS) if prompted else SYSTEM_FIELDS
    if record.keys().isdisjoint(fields):
        return
    for field in fields:
        value = record.get(field)
        if field in example.used or not value:
            continue
        if example.turns and example.turns[0]["role"] == "system":
            return
        example.turns.insert(0, {"role": "system", "content": _text(value, field)})
        example.used.add(field)
        return
    # An empty one says nothing; beside a list of turns it is a field like others.
    if record.get("system") == "" and not example.used & {*MESSAGE_FIELDS}:
        example.used.add("system")


def _text(value: Any, field: str) -> str:
    if isinstance(value, dict):
        value = value.get("content") or value.get("parts") or [value]
    try:
        return content_text(value, field, "\n\n")
    except RecordFault as fault:
        raise RecordFault(Reason.WRONG_TYPE, field) from fault
