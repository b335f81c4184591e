"""Long rows: which rows of a pool become passages, where the one that is asked for stands, lineage."""

from __future__ import annotations

import numpy as np
import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.generate.novelty import words_of
from curate.generate.programs.passages import draw_long, read_passages
from curate.generate.programs.question import Draw, decile_of
from tests.conftest import frame, row, turns

WORDS = ["rivers", "bread", "spiders", "tides", "copper", "winter", "letters", "markets"]
ROWS = [
    row(
        f"pool/{i}",
        turns(
            f"Tell of {WORDS[i % 8]}, and{' it' * (i % 9)} what item{'abcdefghij'[i % 10] * 3}{i} is.",
            f"Item {i}.",
        ),
    )
    for i in range(200)
]
PASSAGES = read_passages(frame(ROWS).lazy(), np.random.default_rng(0))


@given(st.integers(0, 2**31), st.integers(0, 9), st.integers(0, 400), st.integers(3_000, 9_000))
def test_one_passage_is_asked_for(seed: int, decile: int, number: int, size: int) -> None:
    question = draw_long(Draw(np.random.default_rng(seed), decile, number, PASSAGES), size)
    by_id = {one.row_id: one for one in PASSAGES}
    texts = regex.split(r"(?:^|\n\n)Passage \[\d+\]\n", question.context)[1:]
    gold, *others = [by_id[row_id] for row_id in question.parents]
    assert sorted(texts) == sorted(one.prompt for one in [gold, *others])
    assert len(set(question.parents)) == len(question.parents)
    assert (question.answer, question.needle) == (gold.response, gold.prompt)
    asked_for = question.slots["passage"]
    place = texts.index(gold.prompt)
    if asked_for.startswith("passage ["):
        assert asked_for == f"passage [{place + 1}]"
    else:
        words = regex.findall(r'"(\w+)"', asked_for)
        assert words
        assert [set(words) <= set(words_of(t)) for t in texts].count(True) == 1
    assert 0.9 * size < len(question.context) <= 1.02 * size
    assert question.position is not None and decile_of(question.position) == decile


def test_golds_take_turns() -> None:
    golds = {
        draw_long(Draw(np.random.default_rng(i), 0, i, PASSAGES), 2_000).parents[0]
        for i in range(200)
    }
    assert len(golds) == 200


def test_conversations_and_copies_are_no_passages() -> None:
    some = [
        *ROWS[:12],
        row("pool/again", turns(ROWS[0]["messages"][0]["content"], "Another.")),
        row("pool/long", [*turns("One?", "Yes."), *turns("Two?", "No.")]),
        row("pool/head", [{"role": "system", "content": "Be brief."}, *turns("Three?", "Yes.")]),
    ]
    passages = read_passages(frame(some).lazy(), np.random.default_rng(0))
    assert len(passages) == 12
    assert {"pool/long", "pool/head"}.isdisjoint(one.row_id for one in passages)


def test_a_small_pool_is_refused() -> None:
    with pytest.raises(UserError, match="the pool has 9 with one prompt and one response"):
        read_passages(frame(ROWS[:9]).lazy(), np.random.default_rng(0))
