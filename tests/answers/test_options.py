"""Options listed in a prompt."""

from __future__ import annotations

import pytest

from curate.answers.options import (
    AnswerOptions,
    few_answers,
    field_choices,
    prompt_choices,
    split_options,
)

QUESTION = "Which is a river?\nA) Rhine\nB) Alps\nC) Rome"


@pytest.mark.parametrize(
    ("prompt", "bare", "options"),
    [
        (QUESTION, "Which is a river?", ["Rhine", "Alps", "Rome"]),
        ("Pick.\n(A) x\n(B) y\n\nAnswer:", "Pick.\nAnswer:", ["x", "y"]),
        ("Pick.\n - A. x\n - B. y", "Pick.", ["x", "y"]),
        ("A: hello\nIs B here?", "A: hello\nIs B here?", []),
        ("Pick.\nB) x\nC) y", "Pick.\nB) x\nC) y", []),
    ],
)
def test_options_of_a_prompt(prompt: str, bare: str, options: list[str]) -> None:
    assert split_options(prompt) == (bare, options)


BULLETS = "Is it valid?\nOptions:\n- valid \n- invalid"
INLINE = "When is it faster? (A) on the red ice (B) in snow"
SHOTS = "Q: x?\n(A) a\n(B) b\nA: (A)\n\nQ: y?\n(A) c\n(B) d\n(C) e\nA:"


@pytest.mark.parametrize(
    ("prompt", "response", "options", "gold"),
    [
        (QUESTION, "Alps", ["Rhine", "Alps", "Rome"], 1),
        (QUESTION, "alps.", ["rhine.", "alps.", "rome."], 1),
        (QUESTION, "(C)", ["(A)", "(B)", "(C)"], 2),
        (QUESTION, "B", ["A", "B", "C"], 1),
        (QUESTION, "A) Rhine", ["A) Rhine", "B) Alps", "C) Rome"], 0),
        (QUESTION, "(A): Rhine.", ["(A): Rhine.", "(B): Alps.", "(C): Rome."], 0),
        (BULLETS, "invalid", ["valid", "invalid"], 1),
        (BULLETS, "Valid", ["Valid", "Invalid"], 0),
        (INLINE, "in snow", ["on the red ice", "in snow"], 1),
        (INLINE, "B", ["A", "B"], 1),
        (SHOTS, "(C)", ["(A)", "(B)", "(C)"], 2),
        ("5 - 10?\nA) 5\nB) -5", "-5", ["5", "-5"], 1),
    ],
)
def test_options_take_the_form_of_the_response(
    prompt: str, response: str, options: list[str], gold: int
) -> None:
    assert prompt_choices(prompt, response) == AnswerOptions(tuple(options), gold)


@pytest.mark.parametrize(
    ("prompt", "response"),
    [
        (QUESTION, "Danube"),
        (QUESTION, "D"),
        (QUESTION, "It is the Rhine, since it flows."),
        ("Steps:\n- heat it\n- cool it\nDoes it matter?", "yes"),
        ("Which?\nA) x\nB) x", "A) x"),
        ("Which?\nA) only", "A"),
        ("Plan A or plan B?", "A"),
        ("", ""),
    ],
)
def test_a_response_that_is_no_option_has_none(prompt: str, response: str) -> None:
    assert prompt_choices(prompt, response) is None


def test_options_in_a_field() -> None:
    assert field_choices(["red", "blue"], "blue") == AnswerOptions(("red", "blue"), 1)
    labelled = {"text": ["red", "blue"], "label": ["1", "2"]}
    assert field_choices(labelled, "2") == AnswerOptions(("1", "2"), 1)
    for value in (None, "red", ["red"], [1, 2], {"a": "red"}, {"text": None}):
        assert field_choices(value, "red") is None


def test_few_answers_given_again_and_again_are_options() -> None:
    assert few_answers(["yes", "no", "yes ", "no"]) == ("no", "yes")
    assert few_answers(["yes", "no", "maybe", "no"]) == ()
    assert few_answers(["yes"] * 9) == ()
    assert few_answers([str(i % 10) for i in range(20)]) == tuple("0123456789")
    assert few_answers([str(i % 11) for i in range(40)]) == ()
