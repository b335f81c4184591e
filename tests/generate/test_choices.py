"""Answers of a known form."""

from __future__ import annotations

from collections import Counter

import numpy as np

from curate.answers.checkers import find_choice
from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.choices import (
    ChoiceForm,
    check_form,
    form_of,
    options_schema,
    with_options,
)

QUESTION = "Which is a river?\nA) Rhine\nB) Alps\nC) Rome"


def test_form() -> None:
    assert form_of(QUESTION, "A) Rhine") == ChoiceForm(3, False)
    assert form_of(QUESTION, " (A). ") == ChoiceForm(3, True)
    assert form_of("Which?", "The Rhine") == ChoiceForm(4, False)
    wrong = options_schema(ChoiceForm(3))["wrong"]
    assert (wrong["minItems"], wrong["maxItems"]) == (2, 2)


def test_the_right_option_is_anywhere_and_the_answer_names_it() -> None:
    options = {"correct": " Rhine ", "wrong": ["Alps", "Rome", "Bonn"]}
    letters: Counter[str | None] = Counter()
    for seed in range(400):
        rng = np.random.default_rng(seed)
        candidate = with_options(Candidate([], "craft"), "Which?", options, ChoiceForm(), rng)
        assert candidate.reject_reason is None
        assert candidate.response in candidate.prompt.split("\n")[1:]
        assert candidate.response.endswith(") Rhine")
        letters[find_choice(candidate.response)] += 1
    assert all(60 < letters[letter] < 140 for letter in "ABCD")


def test_faults() -> None:
    rng = np.random.default_rng(0)
    same = {"correct": "The Rhine", "wrong": ["Alps", "the rhine.", "Bonn"]}
    candidate = with_options(Candidate([], "craft"), "Which?", same, ChoiceForm(), rng)
    assert (candidate.reject_reason, candidate.detail) == (
        RejectReason.INCONSISTENT,
        "two options are the same",
    )
    few = {"correct": "Rhine", "wrong": ["Alps"]}
    candidate = with_options(Candidate([], "craft"), "Which?", few, ChoiceForm(), rng)
    assert candidate.detail == "2 options where 4 are wanted"
    # Signs are options as well.
    signs = {"correct": "+", "wrong": ["-", "*", "/"]}
    assert (
        with_options(Candidate([], "craft"), "Which?", signs, ChoiceForm(), rng).reject_reason
        is None
    )


def test_numbers() -> None:
    assert check_form(Candidate(pair("2 + 2?", "It is 4."), "aide"), "number").reject_reason is None
    assert (
        check_form(Candidate(pair("2 + 2?", "Four."), "aide"), "number").reject_reason
        is RejectReason.NO_ANSWER
    )
    assert check_form(Candidate(pair("2 + 2?", "Four."), "aide"), "free").reject_reason is None
