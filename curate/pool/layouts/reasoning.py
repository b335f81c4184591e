"""Reasoning in a field of the record, beside the answer that it leads to.

{"prompt": "6 x 7?", "reasoning": "Six sevens ...", "response": "42"}
{"question": "6 x 7?", "thinking_trajectories": ["Six sevens ..."], "attempt": "42"}       s1K
{"messages": [...], "reasoning": "off"}                                     a mode, and no text
"""

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault
from curate.pool.layouts.texts import is_repeated
from curate.pool.layouts.unread import REASONING_FIELDS

S1K = ("thinking_trajectories", "deepseek_thinking_trajectory")
# Names that some data sets have for it: OpenThoughts, HuatuoGPT-o1, s1K.
FIELDS = (*REASONING_FIELDS, "deepseek_reasoning", "complex_cot", "model_reasoning", *S1K)
# What says whether the answer reasons at all.
MODES = frozenset({"on", "off", "true", "false", "yes", "no", "none", "enabled", "disabled"})


def add_reasoning(example: ConversationTurns, record: Record) -> None:
    """Give the reasoning of a record to its only answer, unless that holds it.

    Raises:
        RecordFault: it is no text, or it may belong to any of several answers.
    """
    if record.keys().isdisjoint(FIELDS):
        return
    for field in FIELDS:
        value = record.get(field)
        if isinstance(value, list) and len(value) == 1:
            value = value[0]
        if field in example.used or not value or isinstance(value, bool):
            continue
        if is_repeated(value, example.turns):
            continue
        if is_mode(value):
            example.aside |= {field}
            continue
        answers = [turn for turn in example.turns if turn["role"] == "assistant"]
        if not isinstance(value, str):
            raise RecordFault(Reason.WRONG_TYPE, field)
        if len(answers) != 1 or answers[0].get("reasoning"):
            raise RecordFault(Reason.UNREAD_FIELD, f"{field}: of which answer?")
        answers[0]["reasoning"] = value
        example.used.add(field)


def is_mode(value: JSON) -> bool:
    """Return whether a value of such a field is a mode of the model, such as "off"."""
    return isinstance(value, str) and value.strip().lower() in MODES
