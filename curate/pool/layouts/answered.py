"""Turns that lead to an answer in a field of its own.

{"messages": [{"role": "system", ...}, {"role": "user", ...}], "reasoning": "...", "answer": "..."}

As in Dolphin-R1 and AceMath: the turns end with the user's, so the answer is the next one.
"""

from typing import Any

from curate.pool.layouts.example import ConversationTurns, Record, Roles
from curate.pool.layouts.messages import listed_layout, unpacked
from curate.pool.layouts.pairs import add_response
from curate.pool.layouts.roles import map_role
from curate.pool.layouts.turn import TURN_KEYS
from curate.pool.layouts.unread import MESSAGE_FIELDS

ANSWERS = ("answer", "answers", "response", "completion", "output")


class AnsweredLayout:
    """A list of turns up to a user's, and the answer in a field of its own."""

    name = "messages"

    def matched_fields(self, record: Record) -> tuple[str, ...]:
        """Return the fields with the turns and the answer."""
        if record.keys().isdisjoint(ANSWERS) or record.keys().isdisjoint(MESSAGE_FIELDS):
            return ()
        answer = next((field for field in ANSWERS if record.get(field)), None)
        listed = listed_layout(record)
        if answer is None or listed is None:
            return ()
        (turns,) = listed.matched_fields(record)
        return (turns, answer) if _ends_with_user(unpacked(record[turns])) else ()

    def read(self, record: Record, roles: Roles) -> ConversationTurns:
        """Return the turns with the answer behind them.

        Raises:
            RecordFault: a turn is none, or the answer is no text.
        """
        _, answer = self.matched_fields(record)
        listed = listed_layout(record)
        assert listed is not None, "its fields have been seen"
        example = listed.read(record, roles)
        add_response(example, record, answer, roles)
        return example


def _ends_with_user(turns: Any) -> bool:
    last = turns[-1] if isinstance(turns, list) and turns else None
    names = [last.get(key) for key in TURN_KEYS] if isinstance(last, dict) else []
    return any(isinstance(name, str) and map_role(name, {}) == "user" for name in names)
