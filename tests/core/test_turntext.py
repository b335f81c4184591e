"""The text of turns: frames and single messages agree."""

from __future__ import annotations

from typing import Any

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.core.rows import Message, turn_text
from curate.core.turntext import (
    CONVERSATION,
    conversations,
    plain_messages,
    text_of_struct,
    text_of_turn,
    without_empty_fields,
)
from tests.conftest import frame, row, turns

TEXT = st.text("ab \n{}", max_size=4)
CALLS = st.lists(
    st.fixed_dictionaries({"id": st.none() | TEXT, "name": TEXT, "arguments": TEXT}),
    min_size=1,
    max_size=2,
)
MESSAGE: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant", "tool"]), "content": TEXT},
    optional={
        "reasoning": st.text("ab \n{}", min_size=1, max_size=4),
        "tool_calls": CALLS,
        "tool_call_id": TEXT,
        "name": TEXT,
        "weight": st.sampled_from([0, 1]),
    },
)


@given(st.lists(MESSAGE, min_size=1, max_size=3))
def test_frames_and_messages_have_the_same_texts(messages: list[Message]) -> None:
    rows = frame([row("a", messages)])
    listed = rows.select(pl.col("messages").list.eval(text_of_turn())).item().to_list()
    assert listed == [turn_text(message) for message in messages]
    answers = pl.col("messages").list.eval(text_of_turn(reasoning=False))
    assert rows.select(answers).item().to_list() == [
        turn_text(message, reasoning=False) for message in messages
    ]
    exploded = rows.explode("messages").select(text_of_struct()).to_series()
    assert exploded.to_list() == listed


@given(st.lists(MESSAGE, min_size=1, max_size=3), st.none() | st.just('[{"name":"f"}]'))
def test_a_conversation_for_a_model_has_its_tools_in_the_first_turn(
    messages: list[Message], tools: str | None
) -> None:
    [read] = conversations(frame([row("a", messages, tools=tools)]).select(CONVERSATION))
    assert read[0].pop("tools", None) == tools
    assert read == messages


def test_fields_that_no_turn_uses_are_left_out() -> None:
    plain = turns("a", "b")
    thoughtful: list[Message] = [plain[0], {**plain[1], "reasoning": "hm"}]
    rows = frame([row("a", plain), row("b", thoughtful)])
    lean = without_empty_fields(rows)
    assert lean["messages"].to_list() == [[{**m, "reasoning": None} for m in plain],
                                          [{"reasoning": None, **m} for m in thoughtful]]  # fmt: skip
    assert without_empty_fields(rows.head(1))["messages"].to_list() == [plain]
    assert plain_messages(rows["messages"][1]) == thoughtful
