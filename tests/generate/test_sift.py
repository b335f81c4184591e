"""The common filters: one candidate for each reason, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.novelty import RougeIndex
from curate.generate.sift import (
    LOOP,
    CandidateFilter,
    Filters,
    PromptFragments,
    count_reject_reasons,
    find_loop,
)
from tests.generate.test_novelty import rouge_l


def by_letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed by counts of letters: anagrams are one point."""
    counts = np.array([[t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts])
    lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)
    return np.asarray(counts / lengths, dtype=np.float32)


def candidate(prompt: str, response: str = "Four, since two and two make four.") -> Candidate:
    return Candidate(pair(prompt, response), "test")


def candidate_filter(**settings: Any) -> CandidateFilter:
    instructions = [
        "Write one new exercise that is a little harder than the one below: {}",
        "请写一道比下面的练习稍微难一点的新练习：{}",
    ]
    return CandidateFilter(
        Filters.model_validate(settings), by_letters, PromptFragments(instructions)
    )


GOOD = "How many are two and two?"
CASES: list[tuple[RejectReason, Candidate, dict[str, Any]]] = [
    (RejectReason.EMPTY, candidate(GOOD, " \n"), {}),
    (RejectReason.TOO_SHORT, candidate("Why?"), {}),
    (RejectReason.TOO_LONG, candidate(GOOD, " ".join(map(str, range(31)))), {"response_words": (1, 30)}),
    (RejectReason.REPEATS_ITSELF, candidate(GOOD, "It is four. " * 9), {}),
    (RejectReason.PROMPT_LEAK,
     candidate("Sure! Write one new exercise that is a little harder than mine"), {}),
    (RejectReason.PROMPT_LEAK, candidate(GOOD, "Four<|im_end|>"), {}),
    (RejectReason.REFUSED, candidate(GOOD, "I'm sorry, but I cannot help with that."), {}),
    (RejectReason.REFUSED, candidate(GOOD, "Well, as an AI language model I have no hands."), {}),
    (RejectReason.COPIES_PROMPT, candidate(GOOD, "how many ARE two and two"), {}),
    (RejectReason.KEYWORD, candidate("Draw a Graph of it, please"), {"keywords": ["graph"]}),
    (RejectReason.KEYWORD, candidate("Speak as an AI, please"), {"keywords": ["as an AI"]}),
    (RejectReason.KEYWORD, candidate("请画一张图表。"), {"keywords": ["图表"]}),
    (RejectReason.TOO_SHORT, candidate("谁"), {}),
    (RejectReason.TOO_LONG, candidate(GOOD, "二加二等于四。" * 2), {"response_words": (1, 10)}),
    (RejectReason.REPEATS_ITSELF, candidate(GOOD, "是四，是五，是四！是五。" * 9), {}),
    (RejectReason.PROMPT_LEAK, candidate("好的，请写一道比下面的练习稍微难一点的新练习：二加二"), {}),
    (RejectReason.WRONG_LANGUAGE, candidate("苹果是什么颜色的？", "红色的。"), {"languages": ["en"]}),
    (
        RejectReason.WRONG_LANGUAGE,
        candidate("Wie viele Äpfel hat Anna noch, wenn sie drei isst?", "Sie hat noch vier Äpfel."),
        {"languages": ["en"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("reject_reason", "candidate", "settings"), CASES)
def test_each_reason(
    reject_reason: RejectReason, candidate: Candidate, settings: dict[str, Any]
) -> None:
    (filtered,) = candidate_filter(**settings).filter([candidate])
    assert filtered.reject_reason is reject_reason
    assert filtered.messages == candidate.messages


KEPT = [
    candidate(GOOD),
    candidate("The club is sorry for the noise. What does the club feel?", "The club is sorry."),
    candidate("List ten even numbers.", "2, 4, 6, 8, 10, 12, 14, 16, 18, 20"),
    candidate("File a complaint about the plot of land.", "Dear all, the plot is too small."),
    candidate("Repeat 'ha' three times, would you?", "ha ha ha"),
    candidate("为什么天空是蓝色的？", "因为空气散射蓝光。"),
    candidate("请写一道新的练习，三加三等于几？", "等于六。"),
    # Its last eight characters are those of an instruction.
    candidate("出题有什么要求？", "要一道稍微难一点的新练习"),
    candidate("ทำไมท้องฟ้าจึงเป็นสีฟ้า", "เพราะอากาศกระเจิงแสงสีฟ้า"),
    candidate("Draw a table", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n------------------"),
]


def test_ordinary_rows_stay() -> None:
    filtered = candidate_filter(languages=["en", "zh", "th"], keywords=["graph"]).filter(KEPT)
    assert [(c.reject_reason, c.detail) for c in filtered] == [(None, "")] * len(KEPT)


def test_candidates_are_held_against_the_pool_and_each_other() -> None:
    loaded_filter = candidate_filter()
    loaded_filter.know(
        ["Name the capital of France in one word."],
        ["Name the capital of France in one word. Paris"],
    )
    filtered = loaded_filter.filter(
        [
            candidate("Name the capital of France in a word."),
            candidate("Count the legs of seven spiders, please.", "56"),
            candidate("Count the legs of seven spiders.", "56 legs"),
            candidate("spiders seven of legs the count, please!", "56"),
            candidate("spiders eight of legs the count; please!", "64"),
        ]
    )
    reject_reasons = [c.reject_reason for c in filtered]
    assert reject_reasons == [
        RejectReason.NOT_NEW,
        None,
        RejectReason.NOT_NEW,
        RejectReason.TOO_NEAR,
        None,
    ]


def test_a_keyword_without_a_word_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'\?!' has no letter or digit"):
        Filters(keywords=["graph", "?!"])


def test_prompts_of_unspaced_scripts_are_held_against_each_other() -> None:
    prompts = ["请问七只蜘蛛一共有几条腿？", "七只蜘蛛一共有几条腿？", "请问法国的首都是哪里？"]
    filtered = candidate_filter().screen([candidate(prompt) for prompt in prompts])
    assert [c.reject_reason for c in filtered] == [None, RejectReason.NOT_NEW, None]


def test_dropped_candidates_stand_in_nobodys_way() -> None:
    loaded_filter = candidate_filter()
    refused = candidate("Count the legs of seven spiders, please.", "I cannot count.")
    assert loaded_filter.filter([refused])[0].reject_reason is RejectReason.REFUSED
    assert (
        loaded_filter.filter([candidate("Count the legs of seven spiders, please.", "56")])[
            0
        ].reject_reason
        is None
    )


def test_a_flaw_that_is_there_stays() -> None:
    filtered = candidate_filter().filter([candidate(GOOD).drop(RejectReason.LOW_GRADE, "2 of 10")])
    assert (filtered[0].reject_reason, filtered[0].detail) == (RejectReason.LOW_GRADE, "2 of 10")


WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "seven", "apples", "run", "fast", "over"]), max_size=8
)


@given(st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), max_size=8), st.integers(1, 8))
def test_counts_add_up_and_batches_change_nothing(texts: list[tuple[str, str]], cut: int) -> None:
    candidates = [candidate(*messages) for messages in texts]
    whole, parts = candidate_filter(), candidate_filter()
    at_once = whole.filter(candidates)
    assert parts.filter(candidates[:cut]) + parts.filter(candidates[cut:]) == at_once
    counted = count_reject_reasons(at_once)
    assert counted["made"] == len(texts) == counted["kept"] + sum(counted["dropped"].values())
    kept = [c.prompt for c in at_once if c.reject_reason is None]
    assert all(rouge_l(a, b) <= 0.7 for i, a in enumerate(kept) for b in kept[:i])


@pytest.mark.parametrize(
    ("text", "loops"),
    [
        ("the end of the end of the end of the end of the end of the end of ", True),
        ("Yes. Yes. Yes. Yes. Yes. Yes.", True),
        ("one, two, three, four, five, six, seven", False),
        ("-" * 200, False),
        ("2 + 2 = 4, 2 + 3 = 5, 2 + 4 = 6, 2 + 5 = 7", False),
        (
            " ".join(
                f"the {w} is {w}"
                for w in ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"]
            ),
            False,
        ),
        ("a b c " * 4 + "d e f " * 4 + "a b c d e f " * 6 + "z", True),
    ],
)
def test_loops(text: str, loops: bool) -> None:
    assert (find_loop(text, 0.4) is not None) is loops


@given(
    st.text("ab .\n\x1c", max_size=12),
    st.text("ab .\n\u2003", min_size=1, max_size=7),
    st.lists(st.sampled_from(["", " ", "\n "]), min_size=3, max_size=6),
    st.text("ab ", max_size=6),
)
def test_a_loop_is_what_the_pattern_alone_finds(
    start: str, piece: str, gaps: list[str], end: str
) -> None:
    text = start + "".join(piece + gap for gap in gaps) + end
    match = LOOP.search(text)
    expected = match is not None and any(map(str.isalnum, match.group(1)))
    assert (find_loop(text, 0.0) is not None) == expected


def test_prompts_are_screened_alone() -> None:
    def prompt(text: str) -> Candidate:
        return Candidate([{"role": "user", "content": text}], "test")

    keyword_filter = candidate_filter(keywords=["graph"])
    keyword_filter.know(
        ["Which river flows through Cologne?"], ["Which river flows through Cologne?"]
    )
    texts = [
        "Who paints the mill?",
        "Who paints the mill?",
        "Which river flows through Cologne today?",
        "Why?",
        " ",
        "Draw a graph of it",
        "As an AI language model I ask",
    ]
    screened = keyword_filter.screen([prompt(text) for text in texts])
    reject_reasons = [candidate.reject_reason for candidate in screened]
    expected = [
        None,
        RejectReason.NOT_NEW,
        RejectReason.NOT_NEW,
        RejectReason.TOO_SHORT,
        RejectReason.EMPTY,
    ]
    assert reject_reasons == [*expected, RejectReason.KEYWORD, RejectReason.REFUSED]
    # Nothing is remembered, but by the caller's own list.
    assert keyword_filter.screen([prompt(texts[0])])[0].reject_reason is None
    seen = RougeIndex()
    assert keyword_filter.screen([prompt(texts[0])], seen)[0].reject_reason is None
    assert keyword_filter.screen([prompt(texts[0])], seen)[0].reject_reason is RejectReason.NOT_NEW
    (kept,) = keyword_filter.filter([candidate(texts[0])])
    assert kept.reject_reason is None
    dropped = prompt(texts[0]).drop(RejectReason.FAILED)
    assert keyword_filter.screen([dropped]) == [dropped]
