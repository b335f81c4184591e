"""Quantities: what a text names in the end, and when it names none for sure."""

from __future__ import annotations

import time
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.quantities import find_quantity, read_quantity, same_quantity
from curate.answers.spans import announced_span

NUMBERS = st.fractions(min_value=-(10**6), max_value=10**6, max_denominator=999)


@given(NUMBERS)
def test_a_fraction_is_read_in_every_writing(number: Fraction) -> None:
    top, bottom = number.numerator, number.denominator
    for text in (
        f"{top}/{bottom}",
        rf"\frac{{{top}}}{{{bottom}}}",
        rf"So it is $\dfrac{{{top}}}{{{bottom}}}$.",
    ):
        quantity = find_quantity(text)
        assert quantity is not None and quantity.number == number


@given(
    st.integers(0, 10**6),
    st.sampled_from(["or 6", "and then", "+ x", ":30", ", 7", "thirds", "^2", "of it"]),
)
def test_an_announced_number_with_more_beside_it_is_none(number: int, more: str) -> None:
    assert find_quantity(f"The answer is {number} {more}.") is None
    assert find_quantity(rf"\boxed{{{number} {more}}}") is None


@given(NUMBERS, NUMBERS)
def test_equality_is_of_values_and_the_same_both_ways(one: Fraction, other: Fraction) -> None:
    pair = [read_quantity(f"{n.numerator}/{n.denominator}") for n in (one, other)]
    assert pair[0] is not None and pair[1] is not None
    assert same_quantity(pair[0], pair[1]) is (one == other) is same_quantity(pair[1], pair[0])


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("no word of it", None),
        ("The answer is 5. And more.", "5"),
        ("Answer: **5 cm**\nMore", "5 cm"),
        (r"\boxed{\frac{1}{2}} and so on", r"\frac{1}{2}"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed{5", ""),
        ("#### 5\n#### 6 \nmore", " 6 "),
        ("The answer is:\n\\[\n5\n\\]", "\n5\n"),
    ],
)
def test_what_is_announced(text: str, span: str | None) -> None:
    assert announced_span(text) == span


def test_a_long_hostile_text_takes_no_time() -> None:
    started = time.process_time()
    for text in (
        "1,",
        "1 ",
        "9",
        r"\frac{",
        "the answer is ",
        r"\boxed{",
        "$",
        "- ",
        "1/",
        "so ",
        r"\text{",
    ):
        find_quantity(text * 20_000 + "1")
    assert time.process_time() - started < 60
