"""Fields of a conversation that no turn holds: a record that has one is refused by its name.

{"messages": [...], "images": ["a.png"]}      refused: images
{"messages": [...], "images": null}           nothing is lost
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

from curate.core.jsontypes import JSON
from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts.example import ConversationTurns, Record, RecordFault
from curate.pool.layouts.texts import is_pointer, is_repeated

MESSAGE_FIELDS = ("messages", "conversations", "conversation", "dialog", "dialogue", "contents")
SYSTEM_FIELDS = (
    "system",
    "system_prompt",
    "system_message",
    "system_instruction",
    "systemInstruction",
    "systemPrompt",
    "systemMessage",
)
# Earlier rounds of a conversation, before the prompt.
HISTORY_FIELDS = ("history", "chat_history", "conversation_history")
# The rejected answer of a preference record, beside turns that end in the chosen one.
REJECTED_FIELDS = ("rejected_response", "rejected_messages")
# Where an answer that is marked as a bad one says false (KTO).
CLASS_FIELD = "label"
LABEL_FIELDS = (CLASS_FIELD, "kto_tag", "thumbs_up")
# The answer of TRL's KTO records. Beside other answers a label of 0 may be the first of some classes.
LABELLED_ANSWER = "completion"
ZEROS = ("0", "0.0")
# Lists of texts, where the others are one text.
CONTEXT_LISTS = ("contexts", "passages", "documents")
CONTEXT_FIELDS = (
    *("context", "passage", "document", "article", "story", "paragraph"),
    *CONTEXT_LISTS,
)
OPTION_FIELDS = ("choices", "options", "endings")
MEDIA_FIELDS = tuple(
    f"{medium}{place}"
    for medium in ("image", "img", "audio", "video")
    for place in ("", "s", "_path", "_paths", "_url", "_urls", "_file", "_files", "_bytes")
)
REASONING_FIELDS = ("reasoning_content", "reasoning", "thinking")
TOOL_FIELDS = ("tools", "functions", "tool_calls", "function_call")
# What reads as a part of the conversation wherever it stands in a record.
SPOKEN_FIELDS = frozenset(
    {
        *MESSAGE_FIELDS,
        *SYSTEM_FIELDS,
        *CONTEXT_FIELDS,
        *OPTION_FIELDS,
        *(
            "prompt",
            "instruction",
            "question",
            "query",
            "problem",
            "input",
            "inputs",
            *HISTORY_FIELDS,
        ),
        *("completion", "response", "output", "outputs", "answer", "answers", "solution"),
        *("target", "targets", "answerKey", "text", "chosen", "rejected", "premise", "hypothesis"),
        *REJECTED_FIELDS,
        *("preferred_output", "non_preferred_output", "instances", "examples", "paragraphs", "qas"),
    }
)
# Arguments of a chat template, some of which are text of the system turn, or tools.
TEMPLATE_FIELD = "chat_template_kwargs"
# What no turn can hold, whatever it says; in a record also what a turn alone can have.
TURN_FIELDS = frozenset(
    {*MEDIA_FIELDS, "attachments", "function_calls", "refusal", "prefix", "train_detail"}
)
HELD_BY_NO_TURN = frozenset({*MEDIA_FIELDS, *REASONING_FIELDS, *TOOL_FIELDS})
TURN_TEXTS = frozenset({"content", "value", "text", "parts", "message"})
# Harmony's channel of calls and of what is said before them.
COMMENTARY = "commentary"


def check_fields(example: ConversationTurns, record: Record) -> None:
    """Fail if a field of the conversation reaches no turn and says what no turn says.

    Raises:
        RecordFault: one does; it is named.
    """
    _check_labels(record, example)
    _check_speakers(record, example)
    if isinstance(arguments := record.get(TEMPLATE_FIELD), dict):
        for name, value in arguments.items():
            if not is_empty(value):
                raise RecordFault(Reason.UNREAD_FIELD, f"{TEMPLATE_FIELD}.{name}")
    for field, value in record.items():
        if field in example.used or field in example.aside or not is_conversational(field):
            continue
        if is_empty(value) or _is_said(field, value, example.turns):
            continue
        raise RecordFault(
            _reason(field) if field in HELD_BY_NO_TURN else Reason.UNREAD_FIELD, field
        )


def _check_labels(record: Record, example: ConversationTurns) -> None:
    """Fail if a label says that the answer is a bad one."""
    for field, label in record.items():
        if field.lower() not in LABEL_FIELDS or field in example.used:
            continue
        text = str(label).strip().lower()
        counts = field.lower() != CLASS_FIELD or LABELLED_ANSWER in example.used
        if text == "false" or (counts and text in ZEROS):
            raise RecordFault(
                Reason.UNREAD_FIELD,
                f"{field} = {text}: the answer is marked as a bad one; if it is none, name the turns "
                "with `fields:`",
            )


def _check_speakers(record: Record, example: ConversationTurns) -> None:
    """Fail if a list beside texts says that they are not of two speakers by turns, as in SODA."""
    speakers = record.get("speakers")
    if not isinstance(speakers, list) or example.used.isdisjoint(MESSAGE_FIELDS):
        return
    if speakers[::2] != speakers[:1] * len(speakers[::2]) or (
        speakers[1::2] != speakers[1:2] * len(speakers[1::2]) or speakers[:1] == speakers[1:2]
    ):
        raise RecordFault(Reason.UNREAD_FIELD, "speakers: not two who speak by turns")


@functools.lru_cache(1_000)
def is_conversational(field: str) -> bool:
    """Return whether a field of this name reads as a part of the conversation."""
    return field in HELD_BY_NO_TURN or field in SPOKEN_FIELDS or field.lower() in SPOKEN_FIELDS


def check_turn(turn: Mapping[str, JSON], where: str) -> None:
    """Fail if a turn has, beside its text, what a turn of a row cannot hold.

    Raises:
        RecordFault: it does; the field is named.
    """
    for field, value in turn.items():
        if field in TURN_FIELDS and not is_empty(value):
            raise RecordFault(_reason(field), f"{where}.{field}")
        if field == "channel" and value == COMMENTARY:
            raise RecordFault(Reason.UNREAD_FIELD, f"{where}.channel = {value!r}")


def _is_said(field: str, value: Any, turns: Sequence[Message]) -> bool:
    if field in OPTION_FIELDS and is_pointer(turns[-1]["content"]):
        return False
    return is_repeated(value, turns)


def _reason(field: str) -> Reason:
    text = field not in MEDIA_FIELDS and field not in TOOL_FIELDS
    return Reason.UNREAD_FIELD if text else Reason.UNSUPPORTED_CONTENT


def is_empty(value: Any) -> bool:
    """Return whether a value says nothing that could belong to a conversation."""
    if isinstance(value, str):
        return value.strip() in ("", "[]", "{}", "null")
    return value is None or isinstance(value, bool) or value == [] or value == {}
