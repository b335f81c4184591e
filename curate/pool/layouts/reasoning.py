"""Reasoning in a field of the record, beside the answer that it leads to.

{"prompt": "6 x 7?", "reasoning": "Six sevens ...", "response": "42"}
"""

from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault
from curate.pool.layouts.texts import is_repeated
from curate.pool.layouts.unread import REASONING_FIELDS


def add_reasoning(example: ConversationTurns, record: Record) -> None:
    """Give the reasoning of a record to its only answer, unless that holds it.

    Raises:
        RecordFault: it is no text, or it may belong to any of several answers.
    """
    if record.keys().isdisjoint(REASONING_FIELDS):
        return
    for field in REASONING_FIELDS:
        value = record.get(field)
        if field in example.used or not value or isinstance(value, bool):
            continue
        if is_repeated(value, example.turns):
            continue
        answers = [turn for turn in example.turns if turn["role"] == "assistant"]
        if not isinstance(value, str):
            raise RecordFault(Reason.WRONG_TYPE, field)
        if len(answers) != 1 or answers[0].get("reasoning"):
            raise RecordFault(Reason.UNREAD_FIELD, f"{field}: of which answer?")
        answers[0]["reasoning"] = value
        example.used.add(field)
