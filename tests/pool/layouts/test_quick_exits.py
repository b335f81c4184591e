"""What is read quickly is read as everything else is."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from curate.pool.layouts import RecordFault, RecordReader
from curate.pool.layouts.pairs import PAIRS
from curate.pool.layouts.unread import HELD_BY_NO_TURN, SPOKEN_FIELDS

TEXT = st.sampled_from(["", " ", "What is 2 + 2?", "4", "<tool_call>{}</tool_call>", "a\x1fé"])
ROLE_NAMES = ("user", "Human", "gpt", "assistant", "system", "tool", "function_call", "judge", "")
ROLES = st.sampled_from(ROLE_NAMES)
TURN = st.one_of(
    *(
        st.fixed_dictionaries({role: ROLES | st.none(), text: TEXT | st.none() | st.just(3)})
        for role, text in (("role", "content"), ("from", "value"), ("speaker", "text"))
    ),
    st.fixed_dictionaries({"role": ROLES, "text": TEXT}),
    st.fixed_dictionaries({"user": TEXT, "assistant": TEXT}),
    st.fixed_dictionaries({"role": ROLES, "from": ROLES}),
)
FIELDS = sorted(
    {"meta", "Prompt", "label", "category", "score"}
    | SPOKEN_FIELDS
    | HELD_BY_NO_TURN
    | {name for pair in PAIRS for name in (pair.prompt, pair.response)}
)
VALUE = st.one_of(TEXT, st.none(), st.booleans(), st.integers(0, 3), st.lists(TURN, max_size=3))


def outcome(reader: RecordReader, record: Any) -> Any:
    """Return what a reader makes of a record, or its fault."""
    try:
        parsed = reader.read(copy.deepcopy(record))
    except RecordFault as fault:
        return fault.reason, fault.field
    parts = [
        (c.example, c.origin, c.meta, c.fault and (c.fault.reason, c.fault.field))
        for c in parsed.conversations
    ]
    return parsed.layout, parsed.fields, parts


@given(st.lists(TURN, min_size=1, max_size=4), st.sampled_from([{}, {"judge": "user"}]))
def test_turns_of_a_role_and_a_text_are_read_as_longer_ones(
    turns: list[dict[str, Any]], roles: dict[str, str]
) -> None:
    # A null weight says nothing, but takes a turn out of the quick path.
    longer = [turn | {"weight": None} if "assistant" not in turn else turn for turn in turns]
    reader = RecordReader(roles=roles)
    assert outcome(reader, {"messages": turns}) == outcome(reader, {"messages": longer})


@given(st.lists(st.dictionaries(st.sampled_from(FIELDS), VALUE, max_size=5), max_size=5))
def test_a_record_is_read_the_same_whatever_came_before(records: list[dict[str, Any]]) -> None:
    reader = RecordReader()
    assert [outcome(reader, r) for r in records] == [outcome(RecordReader(), r) for r in records]
