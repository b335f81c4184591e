"""Where the two conversations of a preference record part, and what of them the row keeps."""

from __future__ import annotations

from typing import Any

import pytest

from curate.core.reasons import Reason
from curate.core.rows import Message
from curate.pool.layouts import RecordFault, file_reader
from curate.pool.layouts.reader import Conversation
from curate.pool.settings import FieldMap
from tests.conftest import turns

CHOSEN = turns("a", "b", "c", "d")
RESULT: Message = {"role": "tool", "content": "3"}
CALL: dict[str, Any] = {
    "role": "assistant", "content": "", "tool_calls": [{"name": "add", "arguments": "{}"}]
}  # fmt: skip


def read(record: dict[str, Any], **fields: str) -> Conversation:
    names = FieldMap.model_validate(fields).model_dump() if fields else None
    reader = file_reader([record], names, "f")  # type: ignore[arg-type]
    [conversation] = reader.read(record).conversations
    return conversation


def parts(record: dict[str, Any], **fields: str) -> tuple[list[str], list[str], Any]:
    """Return the texts of the row and of its rejected answer, and what meta says of the pair."""
    conversation = read(record, **fields)
    example = conversation.example
    assert example is not None
    assert example.rejected is not None
    texts = [[turn["content"] for turn in some] for some in (example.turns, example.rejected)]
    return texts[0], texts[1], conversation.meta.get("pair")


def test_answers_that_part_at_the_last_turn_need_no_note() -> None:
    record = {"chosen": CHOSEN, "rejected": turns("a", "b", "c", "x")}
    assert parts(record) == (["a", "b", "c", "d"], ["x"], None)


def test_where_conversations_part_before_their_last_turn_is_noted() -> None:
    record = {"chosen": CHOSEN, "rejected": turns("a", "x", "c", "y")}
    assert parts(record) == (["a", "b", "c", "d"], ["x", "c", "y"], {"chosen_turns": 3})


def test_a_rejected_conversation_may_end_early() -> None:
    record = {"chosen": CHOSEN, "rejected": turns("a", "x"), "pair": {"margin": 0.5}}
    note = {"margin": 0.5, "chosen_turns": 3}
    assert parts(record) == (["a", "b", "c", "d"], ["x"], note)
    assert parts(record | {"pair": "17"})[2] == {"pair": "17", "chosen_turns": 3}


def test_the_result_of_a_tool_belongs_to_its_call() -> None:
    chosen = [*turns("a"), CALL, RESULT, *turns("", "It is 3.")[1:]]
    rejected = [*turns("a"), CALL, {**RESULT, "content": "4"}, *turns("", "It is 4.")[1:]]
    assert parts({"chosen": chosen, "rejected": rejected})[1:] == (
        ["", "4", "It is 4."], {"chosen_turns": 3}
    )  # fmt: skip


def test_a_prompt_of_its_own_stays_before_answers_of_several_turns() -> None:
    record = {
        "prompt": turns("a"), "chosen": CHOSEN[1:], "rejected": turns("a", "x", "c", "y")[1:]
    }  # fmt: skip
    assert parts(record) == (["a", "b", "c", "d"], ["x", "c", "y"], {"chosen_turns": 3})


def test_a_named_field_may_hold_the_answer_or_the_whole_conversation() -> None:
    fields = {"messages": "good", "rejected": "bad"}
    assert parts({"good": CHOSEN, "bad": turns("", "x")[1:]}, **fields)[1:] == (["x"], None)
    whole = {"good": CHOSEN, "bad": turns("a", "b", "c", "x")}
    assert parts(whole, **fields)[1:] == (["x"], None)
    early = {"good": CHOSEN, "bad": turns("a", "x", "c", "y")}
    assert parts(early, **fields)[1:] == (["x", "c", "y"], {"chosen_turns": 3})


@pytest.mark.parametrize(
    ("rejected", "sentence"),
    [
        (turns("a", "b"), "rejected: it ends before it parts from the chosen conversation"),
        (turns("a", "b", "e", "d"), "rejected: it answers another prompt"),
        (turns("e", "b", "c", "d"), "rejected: it answers another prompt"),
        ([*CHOSEN[:2], *turns("", "d")[1:]], "rejected: it answers another prompt"),
    ],
)
def test_a_rejected_answer_to_something_else_is_refused(
    rejected: list[Message], sentence: str
) -> None:
    with pytest.raises(RecordFault, match=sentence) as caught:
        read({"chosen": CHOSEN, "rejected": rejected})
    assert caught.value.reason is Reason.UNREAD_FIELD
