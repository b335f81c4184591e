"""The common filters: one candidate for each reason, and what stays."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.generate.candidates import Candidate, Flaw, pair
from curate.generate.novelty import Seen, rouge_l
from curate.generate.sift import Filters, Leaks, Sieve, count_flaws, find_loop


def by_letters(texts: Sequence[str]) -> NDArray[np.float32]:
    """Embed by counts of letters: anagrams are one point."""
    counts = np.array([[t.lower().count(c) for c in "abcdefghijklmnopqrstuvwxyz"] for t in texts])
    lengths = np.maximum(np.linalg.norm(counts, axis=1, keepdims=True), 1)
    return (counts / lengths).astype(np.float32)


def made(prompt: str, response: str = "Four, since two and two make four.") -> Candidate:
    return Candidate(pair(prompt, response), "test")


def sieve(**settings: Any) -> Sieve:
    asked = ["Write one new exercise that is a little harder than the one below: {}"]
    return Sieve(Filters.model_validate(settings), by_letters, Leaks(asked))


GOOD = "How many are two and two?"
CASES: list[tuple[Flaw, Candidate, dict[str, Any]]] = [
    (Flaw.EMPTY, made(GOOD, " \n"), {}),
    (Flaw.TOO_SHORT, made("Why?"), {}),
    (Flaw.TOO_LONG, made(GOOD, " ".join(map(str, range(31)))), {"response_words": (1, 30)}),
    (Flaw.REPEATS_ITSELF, made(GOOD, "It is four. " * 9), {}),
    (Flaw.PROMPT_LEAK, made("Sure! Write one new exercise that is a little harder than mine"), {}),
    (Flaw.PROMPT_LEAK, made(GOOD, "Four<|im_end|>"), {}),
    (Flaw.REFUSED, made(GOOD, "I'm sorry, but I cannot help with that."), {}),
    (Flaw.REFUSED, made(GOOD, "Well, as an AI language model I have no hands."), {}),
    (Flaw.COPIES_PROMPT, made(GOOD, "how many ARE two and two"), {}),
    (Flaw.KEYWORD, made("Draw a Graph of it, please"), {"keywords": ["graph"]}),
    (
        Flaw.WRONG_LANGUAGE,
        made("Wie viele Äpfel hat Anna noch, wenn sie drei isst?", "Sie hat noch vier Äpfel."),
        {"languages": ["en"]},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("flaw", "candidate", "settings"), CASES)
def test_each_reason(flaw: Flaw, candidate: Candidate, settings: dict[str, Any]) -> None:
    (told,) = sieve(**settings).sift([candidate])
    assert told.flaw is flaw
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
    told = sieve(languages=["en"], keywords=["graph"]).sift(KEPT)
    assert [(c.flaw, c.detail) for c in told] == [(None, "")] * len(KEPT)


def test_candidates_are_held_against_the_pool_and_each_other() -> None:
    sieved = sieve()
    sieved.know(
        ["Name the capital of France in one word."],
        ["Name the capital of France in one word. Paris"],
    )
    told = sieved.sift(
        [
            made("Name the capital of France in a word."),
            made("Count the legs of seven spiders, please.", "56"),
            made("Count the legs of seven spiders.", "56 legs"),
            made("spiders seven of legs the count, please!", "56"),
            made("spiders eight of legs the count; please!", "64"),
        ]
    )
    flaws = [c.flaw for c in told]
    assert flaws == [Flaw.NOT_NEW, None, Flaw.NOT_NEW, Flaw.TOO_NEAR, None]


def test_dropped_candidates_stand_in_nobodys_way() -> None:
    sieved = sieve()
    refused = made("Count the legs of seven spiders, please.", "I cannot count.")
    assert sieved.sift([refused])[0].flaw is Flaw.REFUSED
    assert sieved.sift([made("Count the legs of seven spiders, please.", "56")])[0].flaw is None


def test_a_flaw_that_is_there_stays() -> None:
    told = sieve().sift([made(GOOD).drop(Flaw.LOW_GRADE, "2 of 10")])
    assert (told[0].flaw, told[0].detail) == (Flaw.LOW_GRADE, "2 of 10")


WORDS = st.lists(
    st.sampled_from(["red", "green", "blue", "seven", "apples", "run", "fast", "over"]), max_size=8
)


@given(st.lists(st.tuples(WORDS.map(" ".join), WORDS.map(" ".join)), max_size=8), st.integers(1, 8))
def test_counts_add_up_and_batches_change_nothing(texts: list[tuple[str, str]], cut: int) -> None:
    candidates = [made(*told) for told in texts]
    whole, parts = sieve(), sieve()
    at_once = whole.sift(candidates)
    assert parts.sift(candidates[:cut]) + parts.sift(candidates[cut:]) == at_once
    counted = count_flaws(at_once)
    assert counted["made"] == len(texts) == counted["kept"] + sum(counted["dropped"].values())
    kept = [c.prompt for c in at_once if c.flaw is None]
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

    known = sieve(keywords=["graph"])
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
    flaws = [candidate.flaw for candidate in told]
    wanted = [None, Flaw.NOT_NEW, Flaw.NOT_NEW, Flaw.TOO_SHORT, Flaw.EMPTY]
    assert flaws == [*wanted, Flaw.KEYWORD, Flaw.REFUSED]
    # Nothing is remembered, but by the caller's own list.
    assert known.screen([prompt(texts[0])])[0].flaw is None
    seen = Seen()
    assert known.screen([prompt(texts[0])], seen)[0].flaw is None
    assert known.screen([prompt(texts[0])], seen)[0].flaw is Flaw.NOT_NEW
    (kept,) = known.sift([made(texts[0])])
    assert kept.flaw is None
    dropped = prompt(texts[0]).drop(Flaw.FAILED)
    assert known.screen([dropped]) == [dropped]
