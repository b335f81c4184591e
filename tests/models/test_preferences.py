"""Pairs as a model reads them: the last answers alone are labelled, in the order of the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.core.store import Store
from curate.models.chat import IGNORED
from curate.models.load import load_tokenizer
from curate.models.preferences import (
    UNPAIRED,
    TokenizedPair,
    build_pairs,
    pair_rows,
    preferences_of,
)
from tests.conftest import frame, row, stored_rows, turns

PAIRS: list[tuple[list[str], list[str] | None]] = [
    (["What is 2 + 2?", "It is 4."], ["It is 5."]),
    (["Hi", "Hello.", "Name a river.", "The Danube."], ["Rivers flow.", "No, name one.", "Sand."]),
    (["Say a.", "a"], None),
]
# The answers of the second pair part at its second turn.
META = ["{}", '{"pair": {"chosen_turns": 3}}', "{}"]


def rows() -> list[dict[str, Any]]:
    """Return rows, of which the last is no pair; a rejected answer begins where the chosen one does."""
    return [
        row(f"p{i}", turns(*texts), rejected=rejected and turns("", *rejected)[1:], meta=META[i])
        for i, (texts, rejected) in enumerate(PAIRS)
    ]


def built(tiny: Path, max_length: int = 500) -> list[TokenizedPair]:
    return build_pairs(load_tokenizer(tiny), preferences_of(frame(rows())), max_length)


def learned(tiny: Path, pair: TokenizedPair) -> list[str]:
    decode = load_tokenizer(tiny).decode
    return [
        str(decode([t for t in example.labels if t != IGNORED]))
        for example in (pair.chosen, pair.rejected)
    ]


def test_answers_are_labelled_from_where_they_part_and_what_precedes_them_is_the_same(
    tiny: Path,
) -> None:
    first, second, _ = built(tiny)
    chosen, rejected = learned(tiny, first)
    assert chosen.startswith("It is 4.")
    assert rejected.startswith("It is 5.")
    chosen, rejected = learned(tiny, second)
    assert chosen.startswith("Hello.")
    assert "The Danube." in chosen
    assert "Rivers flow." in rejected
    assert "Sand." in rejected
    assert "ame" not in chosen + rejected
    start = next(i for i, token in enumerate(second.chosen.labels) if token != IGNORED)
    assert second.chosen.ids[:start] == second.rejected.ids[:start]


def test_earlier_answers_are_part_of_the_prompt(tiny: Path) -> None:
    texts = turns("Hi", "Hello.", "Name a river.", "The Danube.")
    [pair] = build_pairs(
        load_tokenizer(tiny),
        preferences_of(frame([row("p", texts, rejected=turns("", "Sand.")[1:])])),
        500,
    )
    assert [text.rstrip("\n") for text in learned(tiny, pair)] == [
        "The Danube.<|im_end|>", "Sand.<|im_end|>"
    ]  # fmt: skip


def test_a_row_without_a_rejected_answer_is_no_pair(tiny: Path) -> None:
    pairs = built(tiny)
    assert pairs[2] == UNPAIRED
    assert [pair.labelled for pair in pairs] == [True, True, False]


def test_a_row_is_no_pair_where_the_limit_cuts_both_answers_before_they_part(tiny: Path) -> None:
    whole, *_ = built(tiny)
    sides = zip(whole.chosen.ids, whole.rejected.ids, strict=False)
    parting = next(i for i, (one, other) in enumerate(sides) if one != other)
    # Both answers begin with "It is", which is labelled.
    assert whole.chosen.labels[parting - 1] != IGNORED
    assert [built(tiny, length)[0].labelled for length in (parting, parting + 1)] == [False, True]
    assert built(tiny, parting)[0] == UNPAIRED
    assert len(built(tiny, parting + 1)[0].rejected.ids) == parting + 1


def test_the_identity_follows_both_answers_and_the_order(store: Store) -> None:
    plain = rows()
    other = [{**plain[0], "rejected": turns("", "It is 6.")[1:]}, *plain[1:]]
    identities = {
        pair_rows([stored_rows(store, "pool", part)], ids).identity
        for part, ids in (
            (plain, ["p0", "p1"]), (plain, ["p1", "p0"]), (plain, ["p0"]), (other, ["p0"]),
        )
    }  # fmt: skip
    assert len(identities) == 4


def test_pairs_come_in_the_order_of_the_ids(store: Store) -> None:
    pool = stored_rows(store, "pool", rows())
    first, none, again = pair_rows([pool], ["p0", "p2", "p0"]).preferences()
    assert none is None
    assert first == again
    assert first is not None
    assert first.rejected[-1]["content"] == "It is 5."


@pytest.mark.parametrize("tools", [None, '[{"type": "function", "function": {"name": "f"}}]'])
def test_tools_of_the_row_stand_before_both_answers(tools: str | None) -> None:
    [pair] = preferences_of(frame([{**rows()[0], "tools": tools}]))
    assert pair is not None
    assert [side[0].get("tools") for side in (pair.chosen, pair.rejected)] == [tools, tools]
