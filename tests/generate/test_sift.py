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
from curate.generate.novelty import RougeIndex, rouge_l
from curate.generate.sift import (
    CandidateFilter,
    Filters,
    PromptFragments,
    count_reject_reasons,
    find_loop,
)


def by_letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed by counts of letters: anagrams are one point."""
    counts = np.array([[t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts])
    lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)
    return (counts / lengths).astype(np.float32)


def made(prompt: str, response: str = "Four, since two and two make four.") -> Candidate:
    return Candidate(pair(prompt, response), "test")


def candidate_filter(**settings: Any) -> CandidateFilter:
    asked = ["Write one new exercise that is a little harder than the one below: {}"]
    return CandidateFilter(Filters.model_validate(settings), by_letters, PromptFragments(asked))


GOOD = "How many are two and two?"
CASES: list[tuple[RejectReason, Candidate, dict[str, Any]]] = [
    (RejectReason.EMPTY, made(GOOD, " \n"), {}),
    (RejectReason.TOO_SHORT, made("Why?"), {}),
    (RejectReason.TOO_LONG, made(GOOD, " ".join(map(str, range(31)))), {"response_words": (1, 30)}),
    (RejectReason.REPEATS_ITSELF, made(GOOD, "It is four. " * 9), {}),
    (RejectReason.PROMPT_LEAK,
     made("Sure! Write one new exercise that is a little harder than mine"), {}),
    (RejectReason.PROMPT_LEAK, made(GOOD, "Four<|im_end|>"), {}),
    (RejectReason.REFUSED, made(GOOD, "I'm sorry, but I cannot help with that."), {}),
    (RejectReason.REFUSED, made(GOOD, "Well, as an AI language model I have no hands."), {}),
    (RejectReason.COPIES_PROMPT, made(GOOD, "how many ARE two and two"), {}),
    (RejectReason.KEYWORD, made("Draw a Graph of it, please"), {"keywords": ["graph"]}),
    (
        RejectReason.WRONG_LANGUAGE,
        made("Wie viele Äpfel hat Anna noch, wenn sie drei isst?", "Sie hat noch vier Äpfel."),
        {"languages": ["en"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "candidate", "settings"), CASES)
def test_each_reason(flaw: RejectReason, candidate: Candidate, settings: dict[str, Any]) -> None:
    (told,) = candidate_filter(**settings).filter([candidate])
    assert told.reject_reason is flaw
    assert told.messages == candidate.messages


KEPT = [
    made(GOOD),
    made("The club is sorry for the noise. What does the club feel?", "The club is sorry."),
    made("List ten even numbers.", "2, 4, 6, 8, 10, 12, 14, 16, 18, 20"),
    made("File a complaint about the plot of land.", "Dear all, the plot is too small."),
    made("Repeat 'ha' three times, would you?", "ha ha ha"),
    made("Draw a table", "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n------------------"),
]


def test_ordinary_rows_stay() -> None:
    told = candidate_filter(languages=["en"], keywords=["graph"]).filter(KEPT)
    assert [(c.reject_reason, c.detail) for c in told] == [(None, "")] * len(KEPT)


def test_candidates_are_held_against_the_pool_and_each_other() -> None:
    sieved = candidate_filter()
    sieved.know(
        ["Name the capital of France in one word."],
        ["Name the capital of France in one word. Paris"],
    )
    told = sieved.filter(
        [
            made("Name the capital of France in a word."),
            made("Count the legs of seven spiders, please.", "56"),
            made("Count the legs of seven spiders.", "56 legs"),
            made("spiders seven of legs the count, please!", "56"),
            made("spiders eight of legs the count; please!", "64"),
        ]
    )
    flaws = [c.reject_reason for c in told]
    assert flaws == [RejectReason.NOT_NEW, None, RejectReason.NOT_NEW, RejectReason.TOO_NEAR, None]


def test_dropped_candidates_stand_in_nobodys_way() -> None:
    sieved = candidate_filter()
    refused = made("Count the legs of seven spiders, please.", "I cannot count.")
    assert sieved.filter([refused])[0].reject_reason is RejectReason.REFUSED
    assert (
        sieved.filter([made("Count the legs of seven spiders, please.", "56")])[0].reject_reason
        is None
    )


def test_a_flaw_that_is_there_stays() -> None:
    told = candidate_filter().filter([made(GOOD).drop(RejectReason.LOW_GRADE, "2 of 10")])
    assert (told[0].reject_reason, told[0].detail) == (RejectReason.LOW_GRADE, "2 of 10")


WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "seven", "apples", "run", "fast", "over"]), max_size=8
)


@given(st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), max_size=8), st.integers(1, 8))
def test_counts_add_up_and_batches_change_nothing(texts: list[tuple[str, str]], cut: int) -> None:
    candidates = [made(*told) for told in texts]
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


def test_prompts_are_screened_alone() -> None:
    def prompt(text: str) -> Candidate:
        return Candidate([{"role": "user", "content": text}], "test")

    known = candidate_filter(keywords=["graph"])
    known.know(["Which river flows through Cologne?"], ["Which river flows through Cologne?"])
    texts = [
        "Who paints the mill?",
        "Who paints the mill?",
        "Which river flows through Cologne today?",
        "Why?",
        " ",
        "Draw a graph of it",
        "As an AI language model I ask",
    ]
    told = known.screen([prompt(text) for text in texts])
    flaws = [candidate.reject_reason for candidate in told]
    wanted = [
        None,
        RejectReason.NOT_NEW,
        RejectReason.NOT_NEW,
        RejectReason.TOO_SHORT,
        RejectReason.EMPTY,
    ]
    assert flaws == [*wanted, RejectReason.KEYWORD, RejectReason.REFUSED]
    # Nothing is remembered, but by the caller's own list.
    assert known.screen([prompt(texts[0])])[0].reject_reason is None
    seen = RougeIndex()
    assert known.screen([prompt(texts[0])], seen)[0].reject_reason is None
    assert known.screen([prompt(texts[0])], seen)[0].reject_reason is RejectReason.NOT_NEW
    (kept,) = known.filter([made(texts[0])])
    assert kept.reject_reason is None
    dropped = prompt(texts[0]).drop(RejectReason.FAILED)
    assert known.screen([dropped]) == [dropped]
