"""The table of pairs: both answers, where they come from, and what the record does not say."""

from __future__ import annotations

import json

from curate.core.preferences import pair_note, pairs_of
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
