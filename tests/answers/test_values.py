"""Values of short answers: forms, values, and what is told by them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.values import Form, find_form, group_alike, same_answer, same_value


@pytest.mark.parametrize(
    ("response", "form"),
    [
        ("42", "number"),
        ("$1,200.", "number"),
        ("-5 %", "number"),
        ("1/2", "number"),
        (r"\frac{1}{7}", "number"),
        ("12 hours", "number"),
        ("x^2+9", "short"),
        ("(2,5)", "short"),
        ("10:30", "short"),
        ("The answer is (2,5), as was to be shown in this text.", None),
        ("(B)", "choice"),
        ("Option C.", "choice"),
        ("6 February 2029", "short"),
        ("positive", "short"),
        ("<", "short"),
        ("48/2 = 24\n#### 24", "final"),
        ("4 x 6 - 2 = 22, so the answer is 22.", "final"),
        ("The answer is that Napoleon lost in 1815, and then left.", None),
        ("Rain falls because drops grow too heavy for the air to hold.", None),
        ("yes\nno", None),
    ],
)
def test_the_form_of_a_response(response: str, form: str | None) -> None:
    assert find_form(response) == form


@pytest.mark.parametrize(
    ("form", "one", "other", "same"),
    [
        ("number", "42", "So there are 42.0 of them.", True),
        ("number", "$1,200", "The answer is 1200.", True),
        ("number", "$1,200", "The answer is 1200, not 1300", None),
        ("number", "12 minutes", "12 hours", False),
        ("number", "12 minutes", "0.2 hours", True),
        ("number", "12 minutes", "12 apples", None),
        ("number", "42", "It is 4, then 2.", False),
        ("number", "42", "I do not know.", None),
        ("choice", "B", "The answer is (B).", True),
        ("choice", "(B)", "C) because it is", False),
        ("choice", "B", "All of them are fine", None),
        ("short", "The Nile", "nile.", True),
        ("short", "positive", "The answer is: Positive.", True),
        ("short", "Sentiment: positive", "Positive.", True),
        ("short", "Sentiment: positive", "sentiment: positive.", True),
        ("short", "**Sentiment:** *positive*", "positive", True),
        ("short", "Sentiment: positive", "Mood: positive", False),
        ("short", "Sentiment: positive", "Sentiment: negative", False),
        ("short", "12:30", "30", False),
        ("short", "C", "C++", False),
        ("short", "no", "nonagon", False),
        ("short", "no", "Whether that is so has been asked many times, and nobody could say", None),
        ("final", "48/2=24\n#### 24", "Half of 48 is 24.", True),
        ("final", "48/2=24\n#### 24", "48 + 24 = 72\n#### 72", False),
    ],
)
def test_values_are_compared_whole(form: Form, one: str, other: str, same: bool | None) -> None:
    assert same_value(form, one, other) is same
    assert same_value(form, other, one) is same


@pytest.mark.parametrize(
    ("check", "response", "form"),
    [
        ("numeric", "so there are 7 of them in the end", "number"),
        ("numeric", "x^2+9", None),
        ("math", "x^2+9", "math"),
        ("math", "a short text", None),
        ("choice", "The answer is (B).", "choice"),
        ("exact", "a short text", "exact"),
        ("exact", "a " * 200, None),
    ],
)
def test_a_checker_takes_what_it_can_read(check: Any, response: str, form: str | None) -> None:
    assert find_form(response, check) == form


def test_answers_of_one_value_are_one_group() -> None:
    texts = ["7", "x", "7.0", "#### 8", "X ", "so it is 7"]
    assert group_alike("number", texts) == [0, 1, 0, 2, 1, 0]
    assert group_alike(None, texts) == [0, 1, 2, 3, 1, 4]


@pytest.mark.parametrize(
    ("check", "one", "other", "same"),
    [
        ("auto", "42", "The answer is 42.", True),
        ("auto", "42", "43", False),
        ("auto", "42", "I do not know.", None),
        ("auto", "6 x 7 = 42\n#### 42", "7 x 6 = 42\n#### 42", False),
        ("numeric", "6 x 7 = 42\n#### 42", "7 x 6 = 42\n#### 42", True),
        ("math", r"\boxed{x^2-1}", r"\boxed{(x-1)(x+1)}", True),
        ("math", "one text of words", "One text  of words", True),
    ],
)
def test_responses_that_answer_the_same(
    check: Any, one: str, other: str, same: bool | None
) -> None:
    assert same_answer(check, one, other) is same


@given(st.text())
def test_every_text_has_one_form_or_none_and_its_own_value(text: str) -> None:
    form = find_form(text)
    if form is not None:
        assert same_value(form, text, text) in (True, None)
