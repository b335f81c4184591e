"""Answers and gold answers, pair by pair, with the mistakes of known evaluators as negatives."""

from __future__ import annotations

import sys
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.checkers import AnswerVerdict, check_answer, find_choice
from curate.answers.quantities import find_number

C, W, U = AnswerVerdict.CORRECT, AnswerVerdict.WRONG, AnswerVerdict.UNPARSABLE

# Answer, gold answer, and what the numeric and the math checker say.
PAIRS = [
    ("So 3 + 4 = 7.\n#### 7", "#### 7", C, C),
    ("The answer is 7.", "7", C, C),
    ("7", "7.0", C, C),
    ("It costs $1,234.50 in all.", "#### 1234.5", C, C),
    ("1,000,000", "1000000", C, C),
    (r"\boxed{1{,}000}", "1000", C, C),
    ("−5", "-5", C, C),
    ("3/4", "0.75", C, C),
    ("0.75", r"\frac34", C, C),
    (r"The answer is $\dfrac{3}{4}$.", r"\boxed{0.75}", C, C),
    (r"\boxed{2\frac{1}{2}}", "2 1/2", C, C),
    ("They walk 12 km in 3 hours, so 4 km/h.", "4", C, C),
    ("We get \\boxed{42} for x = 3.", "42", C, C),
    (r"The final answer is: $\boxed{42}$. I hope it is correct.", "42", C, C),
    ("**Answer:** 42 apples", "#### 42", C, C),
    ("The answer is\n\n$$x = 42$$", "42", C, C),
    ("1e3", "1000", C, C),
    ("7 million", "7,000,000", C, C),
    ("The answer is 720 minutes.", "12 hours", C, C),
    (r"\boxed{50\text{ cm}}", "0.5 m", C, C),
    ("60 miles per hour", "60 mph", C, C),
    ("75 cents", "$0.75", C, C),
    (r"90^\circ", "90 degrees", C, C),
    ("First I thought the answer is 5, but the answer is 6.", "6", C, C),
    # Wrong, and taken for right by an evaluator that reads the first number.
    (r"\boxed{\frac{1}{4}}", r"\boxed{\frac{1}{7}}", W, W),
    (r"The answer is \frac{1}{4}", r"\frac{1}{7}", W, W),
    ("The answer is x^2+7", "The answer is x^2+9", U, W),
    ("x^2+7", "x^2+9", U, W),
    (r"\boxed{(2,3)}", r"\boxed{(2,5)}", U, W),
    ("(2,3)", "(2,5)", U, W),
    ("(3, 2)", "(2, 3)", U, W),
    ("The answer is 10:45.", "The answer is 10:30.", U, U),
    ("10:45", "10:30", U, U),
    ("11:30", "10:30", U, U),
    ("The answer is 12 hours.", "The answer is 12 minutes.", W, W),
    ("12 hours", "12 minutes", W, W),
    ("The answer is 12 cents.", "#### $12", W, W),
    ("€12", "$12", U, U),
    ("12 apples", "12 hours", U, U),
    ("5 cm^2", "5 cm", U, U),
    ("0.5", "50", W, W),
    ("50%", "0.5", W, W),
    ("The answer is 70.", "7", W, W),
    ("7", "#### 70", W, W),
    ("12:30", "1230", U, U),
    ("1,23", "123", U, U),
    ("The answer is 3 thirds", "3", U, U),
    ("2 or 3", "3", U, W),
    ("The answer is -5 degrees, not 5.", "-5", U, U),
    ("Answer: 10 apples and 2 pears", "10", U, U),
    ("The answer is 5 or 6.", "5", U, W),
    (r"\boxed{2^{10}}", "2", U, W),
    (r"\boxed{5!}", "5", U, W),
    (r"\boxed{5 + 2i}", "5", U, W),
    (r"\boxed{2\sqrt{3}}", "2", U, W),
    (r"\boxed{\pm 3}", "3", U, W),
    ("0.333...", "0.333", U, U),
    ("2024-05-01", "-1", U, W),
    ("x = 2, y = 5", "5", U, W),
    ("The answer is 5", "The answer is that", U, U),
    ("y = 2x + 1", "1", U, W),
    ("so 3 plus 4", "4", U, U),
    ("There are at least 5 of them.", "5", U, U),
    ("It isn't 5.", "5", U, U),
    ("I say 5 or so", "5", U, U),
    ("x = 2", "y = 2", U, U),
    ("so y = 2", "x = 2", U, U),
    ("x = 2", "2", C, C),
    ("2X", "2x", U, U),
    ("(1,2)", r"\{1,2\}", U, U),
    # Equal, though written in another way.
    (r"\boxed{2^{10}}", "1024", U, C),
    (r"\sqrt{12}", r"2\sqrt{3}", U, C),
    (r"So it is $(x-1)(x+1)$.", "x^2-1", U, C),
    (r"\boxed{\{2, 1\}}", r"\{1,2\}", U, C),
    (r"\boxed{(2, 5)}", "(2,5)", U, C),
    ("y = 1 + 2x", "y = 2x + 1", U, C),
    (r"\begin{pmatrix}1\\2\end{pmatrix}", r"\begin{pmatrix} 1 \\ 2 \end{pmatrix}", U, C),
    (r"\boxed{\frac{\pi}{2}}", "π/2", U, C),
    (r"\boxed{2\sqrt{3}\text{ m}}", r"200\sqrt{3} \text{ cm}", U, C),
    (r"[0, 1)", r"[0,1)", U, C),
    # Numbers of other scripts, locales and typographies.
    ("1 000 000", "1000000", C, C),
    ("1\u202f000 €", "€1,000", C, C),
    ("1'000", "1000", C, C),
    ("1½", "1.5", C, C),
    ("The answer is 1⁄2.", "0.5", C, C),
    ("٣٫٥", "3.5", C, C),
    ("१२", "12", C, C),
    ("答案：１２", "12", C, C),
    ("－3", "3", W, W),
    ("-5", "\u22125", C, C),
    ("1.5 × 10³", "1500", C, C),
    (r"2\cdot10^{-3}", "0.002", C, C),
    ("5 Millionen", "5", W, W),
    ("5 млн", "5000000", C, C),
    ("12 (twelve)", "12", C, C),
    ("The answer is one hundred and twelve (112).", "112", C, C),
    ("US$5", "5 dollars", C, C),
    ("He gets $5 an hour", "5 dollars per hour", C, C),
    # What is meant cannot be said.
    ("10%", "10", U, U),
    (r"\boxed{10\%}", "10", U, U),
    ("1,5", "1.5", U, U),
    ("1,5", "15", U, U),
    ("1.000,5", "1000.5", U, U),
    ("€12,50", "1250", U, U),
    ("0,500", "500", U, U),
    ("1.000.000", "1", U, W),
    ("101_2", "101", U, U),
    ("The answer is $101_2$", "101", U, U),
    ("1_000", "1", U, U),
    ("0x10", "0", U, U),
    ("The answer is 0b101", "0", U, U),
    ("12 (thirteen)", "12", U, U),
    ("12 (approx.)", "12", U, U),
    ("≈5", "5", U, U),
    ("~5", "5", U, U),
    ("x ≤ 5", "5", U, W),
    ("√2", "2", U, W),
    ("10³", "10", U, W),
    ("2₃", "2", U, U),
    ("The answer is 3!", "3", U, U),
    ("Is it 3?", "3", U, U),
    ("3 pm", "3 am", U, U),
    ("12th", "12", U, U),
    ("May 5", "5", U, U),
    ("01/02", "0.5", U, U),
    ("5–7", "-2", U, U),
    ("3-", "3", U, U),
    ("5M", "5", U, W),
    ("5 万", "5", U, U),
    ("50‰", "50", U, U),
    ("3 zorgs", "3 blorgs", U, U),
    ("3 zorgs", "3 hours", U, U),
    ("5 mg", "5 Mg", U, U),
    ("5 mW", "5 MW", U, U),
    ("CHF 5", "$5", U, U),
    ("A$5", "$5", U, W),
    ("$5 per hour", "$5", U, U),
    ("negative 5", "5", U, U),
    ("log 5", "5", U, W),
    ("20% of 5", "5", U, W),
    ("5 (6)", "6", U, W),
    ("2 out of 5", "5", U, U),
    ("1 hour 30 minutes", "30 minutes", U, U),
    ("5 feet 10 inches", "10 inches", U, U),
    ("x = 2 or x = 3", "3", U, W),
    ("2;5", "5", U, W),
    ("答案是 5 或 6", "6", U, U),
    # Several announcements: the last one counts, unless it joins another or is taken back.
    ("#### 5\n#### 6", "6", C, C),
    (r"\boxed{5} or \boxed{6}", "6", U, U),
    (r"\boxed{5}\boxed{6}", "6", U, U),
    ("The answer is 5 and the answer is 6", "6", U, U),
    ("The answer is 5. Wait, that is wrong.", "5", U, U),
    # Of numbers with a base the values are compared.
    ("1010_2", r"\boxed{1010_{2}}", U, C),
    ("1010_2", "12_8", U, C),
    ("1010_2", "11_8", U, W),
    # Not the value of anything.
    ("god", "dog", U, U),
    ("no", "on", U, U),
    (r"\frac{1}{0}", r"\frac{1}{0}", U, U),
    (r"\boxed{5", "5", U, U),
    ("The answer is:", "5", U, U),
    ("seven", "7", U, U),
    ("", "7", U, U),
    ("version v2beta", "2", U, U),
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
    ("Answer: A, B", "A", U),
    ("The answer is A or B.", "A", U),
    ("A dog barks at night.", "A", U),
    ("It is a mistake.", "A", U),
    ("", "A", U),
    ("The answer is **B**.", "B", C),
    (r"\boxed{\text{B}}", "B", C),
    ("A) cats\nB) dogs", "B", U),
    ("Option A: cats\nOption B: dogs", "B", U),
    ("A) cats\nB) dogs\n\nB", "B", C),
    ("A\nB", "B", U),
    ("The answer is A. Wait, it is B.", "A", U),
    (r"\boxed{A} or \boxed{B}", "B", U),
    ("Answer: B?", "B", U),
    ("C++", "C", U),
    ("The answer is A+", "A", U),
    ("The answer is not B", "B", U),
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
        ("choice", CHOICE), ("exact", EXACT), ("json", JSON), ("regex", REGEX)
    )
    for case in cases
]  # fmt: skip


@pytest.mark.parametrize(("name", "answer", "gold", "expected"), CASES)
def test_pairs(name: str, answer: str, gold: str, expected: AnswerVerdict) -> None:
    assert check_answer(name, answer, gold) is expected  # type: ignore[arg-type]


@pytest.mark.parametrize(("answer", "gold", "numeric", "math"), PAIRS)
def test_numbers_and_expressions(
    answer: str, gold: str, numeric: AnswerVerdict, math: AnswerVerdict
) -> None:
    assert check_answer("numeric", answer, gold) is numeric
    assert check_answer("math", answer, gold) is math


def test_a_table_of_pairs_has_its_false_positives() -> None:
    assert len(PAIRS) >= 150 and sum(C not in case[2:] for case in PAIRS) >= 90


def test_a_pattern_that_never_ends_is_unparsable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.answers.checkers.TIMEOUT", 0.05)
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
    verdict = check_answer(name, answer, gold)
    # From Python 3.12 on equal JSON of so many levels may be compared to its end.
    assert verdict is U or (verdict is C and name == "json" and sys.version_info >= (3, 12))


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
        check_answer(name, text, '"x"')


@pytest.mark.parametrize(
    "text",
    [
        "The answer is (A) or (B).",
        "The answer is A or B.",
        "Answer: (A) and (B)",
        "The option is A or option C.",
        "The answer is neither A nor B",
    ],
)
def test_several_letters_are_no_choice(text: str) -> None:
    assert find_choice(text) is None
    assert find_choice("The answer is (A) since it fits.") == "A"
