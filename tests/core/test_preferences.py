"""The table of pairs: both answers, where they come from, and what the record does not say."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from curate.core.preferences import (
    chosen_turns,
    chosen_turns_of,
    pair_note,
    pairs_of,
    rejected_answer,
    without_equal_answers,
)
from tests.conftest import frame, row, turns


def test_pairs_are_the_rows_with_a_rejected_answer_in_their_order() -> None:
    worse = turns("", "It is 5.")[1:]
    judged = json.dumps({"pair": pair_note("correct", "p0", 0.62), "level": "easy"})
    rows = frame(
        [
            row("r1", turns("a", "b", "2 + 2?", "It is 4."), rejected=worse, meta=judged),
            row("r0", turns("c", "d")),
            row("r2", turns("c", "d"), rejected=turns("e", "f", "g")[1:]),
            row("r3", turns("c", "d"), rejected=worse, meta=json.dumps({"pair": [1, "odd"]})),
        ]
    )
    pairs = pairs_of(rows.lazy()).collect()
    facts = ("chosen_id", "rejected_id", "margin", "how")
    assert pairs.select(facts).rows() == [
        ("r1", "p0", 0.62, "correct"), ("r2", None, None, "data"), ("r3", None, None, "data")
    ]  # fmt: skip
    texts = [
        [[turn["content"] for turn in pair[name]] for name in ("prompt", "chosen", "rejected")]
        for pair in pairs.to_dicts()
    ]
    assert texts[:2] == [
        [["a", "b", "2 + 2?"], ["It is 4."], ["It is 5."]],
        [["c"], ["d"], ["f", "g"]],
    ]


def test_answers_that_part_early_are_cut_where_they_part() -> None:
    early, odd = ({"pair": {"chosen_turns": number}} for number in (3, "x"))
    talk, worse = turns("a", "b", "c", "d"), turns("a", "x", "c", "y")[1:]
    rows = frame(
        [
            row("r0", talk, rejected=worse, meta=json.dumps(early)),
            row("r1", talk, rejected=worse[-1:], meta=json.dumps(odd)),
            row("r2", talk[:2], rejected=worse[-1:], meta=json.dumps(early)),
        ]
    )
    pairs = pairs_of(rows.lazy()).collect()
    texts = [
        [[turn["content"] for turn in pair[name]] for name in ("prompt", "chosen", "rejected")]
        for pair in pairs.to_dicts()
    ]
    assert texts == [
        [["a"], ["b", "c", "d"], ["x", "c", "y"]],
        [["a", "b", "c"], ["d"], ["y"]],
        [["a"], ["b"], ["y"]],
    ]
    sizes = rows.select(chosen_turns())["meta"].to_list()
    assert (
        sizes
        == [3, 1, 1]
        == [chosen_turns_of(*facts) for facts in rows.select("messages", "meta").rows()]
    )
    answer, other, _ = (
        rejected_answer(*facts) for facts in rows.select("messages", "rejected", "meta").rows()
    )
    assert [turn["content"] for turn in answer.turns] == ["x", "c", "y"]
    assert answer.title == "Rejected in place of the last 3 turns"
    assert other.title == "Rejected answer"


ODD = (
    st.integers(-(2**65), 2**65)
    | st.integers(-3, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.booleans()
    | st.none()
    | st.text("+-0123456789 ._eE\u0663", max_size=22)
)
NOTED = ODD | st.lists(ODD, max_size=2) | st.dictionaries(st.just("chosen_turns"), ODD)


@given(
    note=st.dictionaries(st.sampled_from(["chosen_turns", "how"]), NOTED) | st.lists(NOTED) | NOTED,
    within=st.sampled_from(
        ['{"pair": %s}', '[{"pair": %s}]', "%s", '{"pairs": %s}', '{"pair": %s']
    ),
    length=st.integers(1, 5),
)
def test_columns_and_single_rows_agree_on_where_an_answer_begins(
    note: object, within: str, length: int
) -> None:
    """Whatever a record of others has in the place of the number."""
    meta = within % json.dumps(note)
    rows = frame([row("r", turns(*"abcde"[:length]), meta=meta)])
    [facts] = rows.select("messages", "meta").rows()
    assert rows.select(chosen_turns()).item() == chosen_turns_of(*facts)


def test_equal_last_turns_of_longer_answers_are_no_equal_answers() -> None:
    talk = turns("a", "b", "c", "d")
    early = json.dumps({"pair": {"chosen_turns": 3}})
    rows = frame(
        [
            row("r0", talk, rejected=turns("a", "x", "c", "d")[1:], meta=early),
            row("r1", talk, rejected=turns("", "d")[1:]),
        ]
    )
    assert without_equal_answers(rows)["rejected"].is_null().to_list() == [False, True]
