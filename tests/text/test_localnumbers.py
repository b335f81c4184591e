"""Numbers of several languages: the same value in other signs, other values, what is no number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.localnumbers import find_numbers, unmatched_numbers, values_of


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("1,000.5", "1.000,5"),
        ("1,000.5", "1 000,5"),
        ("1,000.5", "1\u202f000,50"),
        ("1,000.5", "1'000.5"),
        ("1,000.5", "١٠٠٠٫٥"),
        ("1,000", "1000"),
        ("0.75", "0,75"),
        ("1,00,000", "1,00,000"),
        ("v1.2.10", "v1.2.10"),
    ],
)
def test_the_same_number(one: str, other: str) -> None:
    assert unmatched_numbers(f"It is {one} now.", f"Es sind {other}.") == ([], [])


@pytest.mark.parametrize(
    ("one", "other"),
    [("7.5", "75"), ("1,000.5", "1.000.5"), ("12", "21"), ("1.2.10", "1.2.1"), ("0.5", "5")],
)
def test_another_number(one: str, other: str) -> None:
    assert unmatched_numbers(one, other) == ([one], [other])


def test_as_often() -> None:
    assert unmatched_numbers("2 and 2 are 4", "2 und 3 sind 4") == (["2"], ["3"])
    assert unmatched_numbers("2 and 2", "2") == (["2"], [])
    assert find_numbers("In 2020 100 of 1 000, 3.5 each.") == ["2020", "100", "1 000", "3.5"]


@given(st.decimals(0, 10**9, places=2))
def test_every_convention_has_the_value(number: object) -> None:
    english = f"{number:,}"
    german = english.translate(str.maketrans(",.", ".,"))
    french = english.replace(",", "\u202f").replace(".", ",")
    for other in (german, french, str(number)):
        assert unmatched_numbers(english, other) == ([], [])
    assert any(value == number for value in values_of(english))
