"""Answers and gold answers, pair by pair, with the mistakes of known evaluators as negatives."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.checkers import Checked, check_answer, find_choice, find_number

C, W, U = Checked.CORRECT, Checked.WRONG, Checked.UNPARSABLE

NUMERIC = [
    ("So 3 + 4 = 7.\n#### 7", "#### 7", C),
    ("The answer is 7.", "7", C),
    ("7", "7.0", C),
    ("It costs $1,234.50 in all.", "#### 1234.5", C),
    ("1,000,000", "1000000", C),
    ("−5", "-5", C),
    ("The answer is -5 degrees, not 5.", "-5", C),
    ("3/4", "0.75", C),
    ("They walk 12 km in 3 hours, so 4 km/h.", "4", C),
    ("Answer: 10 apples and 2 pears", "10", C),
    ("We get \\boxed{42} for x = 3.", "42", C),
    ("1e3", "1000", C),
    ("First I thought the answer is 5, but the answer is 6.", "6", C),
    ("0.5", "50", W),
    ("50%", "0.5", W),
    ("The answer is 70.", "7", W),
    ("7", "#### 70", W),
    ("12:30", "1230", W),
    ("1,23", "123", W),
    ("seven", "7", U),
    ("", "7", U),
    ("version v2beta", "2", U),
]
CHOICE = [
    ("B", "B", C),
    ("(B)", "B", C),
    ("B.", "(B)", C),
    ("The answer is (B).", "B", C),
    ("The answer is B", "B", C),
    ("Option C: none of them", "C", C),
    ("A) no\nB) yes\nThe answer is B.", "B", C),
    ("I choose option (D)", "D", C),
    ("B", "C", W),
    ("The answer is A.", "B", W),
    ("A dog barks at night.", "A", U),
    ("It is a mistake.", "A", U),
    ("", "A", U),
]
EXACT = [
    ("Paris", "paris.", C),
    ("  New \n York", "New York", C),
    ("nonagon", "no", W),
    ("binomial", "no", W),
    ("true", "t", W),
    ("Monday", "Mon", W),
    ("  ", "x", U),
]
JSON = [
    ('{"a": 1, "b": [1, 2]}', '{"b": [1, 2], "a": 1.0}', C),
    ("[1, 2]", "[2, 1]", W),
    ("true", "1", W),
    ('{"a": null}', "{}", W),
    ('"1"', "1", W),
    ("{a: 1}", "{}", U),
]
REGEX = [("2024-05-01\n", r"\d{4}-\d\d-\d\d", C), ("on 2024-05-01", r"\d{4}-\d\d-\d\d", W)]
CASES = [
    (name, *case)
    for name, cases in (
        ("numeric", NUMERIC), ("choice", CHOICE), ("exact", EXACT), ("json", JSON), ("regex", REGEX)
    )
    for case in cases
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "gold", "expected"), CASES)
def test_pairs(name: str, answer: str, gold: str, expected: Checked) -> None:
    assert check_answer(name, answer, gold) is expected  # type: ignore[arg-type]


def test_a_pattern_that_never_ends_is_unparsable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.generate.checkers.TIMEOUT", 0.05)
    assert check_answer("regex", "a" * 40 + "b", r"(a|aa|a?)+$") is U


@pytest.mark.parametrize(
    ("name", "answer", "gold"),
    [
        ("numeric", "#### 1e999999999", "7"),
        ("numeric", "the answer is 3E+0099999", "1e999999999"),
        ("numeric", "1e-99999999", "0"),
        ("json", "[" * 900 + "]" * 900, "[" * 900 + "]" * 900),
        ("regex", "x", "("),
    ],
)
def test_what_would_take_all_memory_or_breaks_the_comparison_is_unparsable(
    name: Any, answer: str, gold: str
) -> None:
    assert check_answer(name, answer, gold) is U


def test_an_exponent_of_a_usual_size_is_read() -> None:
    assert find_number("1e0003") == 1_000 and find_number("2e-9999") == Fraction(2, 10**9999)


@given(st.integers(-(10**9), 10**9), st.integers(1, 999))
def test_a_number_is_found_however_it_is_written(number: int, other: int) -> None:
    for text in (f"{number}", f"{number:,}", f"so {other} times, the answer is {number:,}."):
        assert find_number(text) == Fraction(number)


@given(st.text(max_size=200))
def test_no_text_breaks_a_checker(text: str) -> None:
    find_number(text)
    find_choice(text)
    for name in ("numeric", "choice", "exact", "json"):
        check_answer(name, text, '"x"')  # type: ignore[arg-type]
