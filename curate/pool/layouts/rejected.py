"""The rejected answer of a preference record: the turns that part from those of the chosen one.

chosen      user a | assistant b | user c | assistant d
rejected    user a | assistant x | user c | assistant y

The row has the turns of the chosen conversation, and its `rejected` are x, c and y. They stand for the
last three turns, which meta says: {"pair": {"chosen_turns": 3}}. Where conversations part at the last
turn, as most do, it says nothing.
"""

from collections.abc import Sequence

from curate.core.preferences import CHOSEN_TURNS, PAIR
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault, Roles
from curate.pool.layouts.messages import read_listed, unpacked_turns
from curate.pool.layouts.unread import REJECTED_FIELDS

OPENING = ("system", "user")


def add_rejected(
    example: ConversationTurns, turns: Sequence[Message], field: str, record: Record
) -> None:
    """Put the rejected answer beside the turns of the chosen one.

    Args:
        example: the chosen conversation.
        turns: those of the whole conversation that leads to the rejected answer.
        field: where it stands, for errors.
        record: whose own field "pair" stays.

    Raises:
        RecordFault: the turns end before they part from the chosen ones, or answer another prompt.
    """
    start = _parting(example.turns, turns)
    if start is None:
        raise RecordFault(
            Reason.UNREAD_FIELD, f"{field}: it ends before it parts from the chosen conversation"
        )
    roles = {conversation[start]["role"] for conversation in (example.turns, turns)}
    if roles != {"assistant"} or turns[-1]["role"] != "assistant":
        raise RecordFault(Reason.UNREAD_FIELD, f"{field}: it answers another prompt")
    example.rejected = list(turns[start:])
    if (replaced := len(example.turns) - start) > 1:
        own = record.get(PAIR, {})
        notes = own if isinstance(own, dict) else {PAIR: own}
        example.beside[PAIR] = notes | {CHOSEN_TURNS: replaced}


def add_rejected_beside(example: ConversationTurns, record: Record, roles: Roles) -> None:
    """Put a rejected answer beside turns that end in the chosen one, where a record has one.

    {"messages": [...], "rejected_response": "..."}                             ms-swift
    {"query": "...", "response": "...", "rejected_response": "..."}

    Raises:
        RecordFault: it is no text and no list of turns, or answers another prompt.
    """
    if example.rejected is not None or record.keys().isdisjoint(REJECTED_FIELDS):
        return
    for field in REJECTED_FIELDS:
        value = unpacked_turns(record.get(field))
        if field in example.used or not value:
            continue
        turns: list[Message] = [{"role": "assistant", "content": value}]
        if not isinstance(value, str):
            listed = [value] if isinstance(value, dict) else value
            turns = read_listed(listed, field, roles).turns
        whole = turns if opens_conversation(turns) else [*example.turns[:-1], *turns]
        add_rejected(example, whole, field, record)
        example.used.add(field)
        return


def opens_conversation(turns: Sequence[Message]) -> bool:
    """Return whether turns are a whole conversation, and not those of an answer alone."""
    return bool(turns) and turns[0]["role"] in OPENING


def _parting(chosen: Sequence[Message], rejected: Sequence[Message]) -> int | None:
    """Return the number of the first turn that differs; None if one ends before.

    Equal conversations differ in nothing: the last turn is the answer then. The result of a tool
    belongs to its call.
    """
    pairs = list(zip(chosen, rejected, strict=False))
    start = next((i for i, (turn, other) in enumerate(pairs) if turn != other), None)
    if start is None:
        return None if len(rejected) < len(chosen) else len(chosen) - 1
    while start and "tool" in {turn["role"] for turn in pairs[start]}:
        start -= 1
    return start
