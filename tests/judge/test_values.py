"""Values of short answers: forms, values, and what is told by them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.judge.values import Form, find_form, same_value


@pytest.mark.parametrize(
    ("response", "form"),
    [
        ("42", "number"),
        ("$1,200.", "number"),
        ("-5 %", "number"),
        ("1/2", "number"),
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
        ("number", "$1,200", "The answer is 1200, not 1300", True),
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


@given(st.text())
def test_every_text_has_one_form_or_none_and_its_own_value(text: str) -> None:
    form = find_form(text)
    if form is not None:
        assert same_value(form, text, text) in (True, None)
