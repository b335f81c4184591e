"""Arithmetic in texts: values against exact fractions, what is refused, and false equations."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.answers.arithmetic import LONGEST, evaluate, false_equation, find_value
from curate.answers.checkers import AnswerVerdict, check_answer, is_gold

# An expression as a text, and its value by exact fractions.
Expression = tuple[str, Fraction]


def numerals() -> st.SearchStrategy[Expression]:
    whole = st.integers(0, 999).map(lambda n: (str(n), Fraction(n)))
    cents = st.integers(0, 9_999).map(lambda n: (f"{n // 100}.{n % 100:02d}", Fraction(n, 100)))
    return whole | cents


def joined(parts: tuple[Expression, str, Expression]) -> Expression:
    (left, a), operator, (right, b) = parts
    if operator == "/" and b == 0:
        operator = "+"
    value = {"+": a + b, "-": a - b, "*": a * b}[operator] if operator != "/" else a / b
    return f"({left} {operator} {right})", value


def wrapped(children: st.SearchStrategy[Expression]) -> st.SearchStrategy[Expression]:
    negated = children.map(lambda child: (f"(-{child[0]})", -child[1]))
    return st.tuples(children, st.sampled_from("+-*/"), children).map(joined) | negated


EXPRESSIONS = st.recursive(numerals(), wrapped, max_leaves=12)


@given(EXPRESSIONS)
def test_values_are_exact(expression: Expression) -> None:
    text, value = expression
    assert evaluate(text) == value
    latex = text.replace("*", r"\times").replace("-", "\u2212").replace("(", "[").replace(")", "]")
    assert evaluate(latex) == value


@given(EXPRESSIONS, st.integers(-3, 3))
def test_an_equation_holds_exactly_or_not(expression: Expression, miss: int) -> None:
    text, value = expression
    side = f"({value.numerator + miss * value.denominator})/{value.denominator}"
    false = false_equation(f"First a word.\nSo: {text} = {side}. Good.")
    assert (false is None) == (miss == 0)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 + 3 * 4", 14),
        ("2^10", 1024),
        ("2**-3", Fraction(1, 8)),
        ("-2^2", -4),
        ("3 × 4 ÷ 2", 6),
        ("3 x 4", 12),
        ("$5 * 3", 15),
        ("1,234.5 + 1", Fraction(2471, 2)),
        (r"\frac{1}{2} + \frac{\frac{1}{3}}{2}", Fraction(2, 3)),
        ("½ + 10²", Fraction(201, 2)),
        ("(" * 90 + "1" + ")" * 90, 1),
    ],
)
def test_ways_to_write_it(text: str, value: Fraction) -> None:
    assert evaluate(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "x + 1", "__import__('os').getcwd()", "(lambda: 1)()", "[1][0]", "1 if 1 else 2", "1 < 2",
        "1_000", "0x10", "1e9", "1j", "'1'", "True", "7 // 2", "7 % 2", "~1", "1 / 0", "0 ** -1",
        "2 ** 0.5", "9 ** 9 ** 9 ** 9", "2 ** 65", "(2 ** 64) ** 64 * (2 ** 64) ** 64", "-" * 300 + "1",
        "1" * (LONGEST + 1), "(" * 300 + "1" + ")" * 90, "1\n+", "f'{1}'", "a.b",
    ],
)  # fmt: skip
def test_all_else_has_no_value(text: str) -> None:
    assert evaluate(text) is None


@given(st.text(alphabet="0123456789+-*/().^ =,x\\{}[]frac_e\n", max_size=60))
def test_no_text_breaks_it(text: str) -> None:
    evaluate(text)
    find_value(text)
    false_equation(text)


@pytest.mark.parametrize(
    ("text", "equation"),
    [
        ("So 3 + 4 = 8, and 8 * 2 = 16.", "3 + 4 = 8"),
        ("Natalia sold 48/2 = 25 clips in May.", "48/2 = 25"),
        ("She has 48/2 = <<48/2=25>>25.", "48/2=25"),
        ("1. 3 + 4 = 8", "3 + 4 = 8"),
        ("- 3 + 4 = 8", "3 + 4 = 8"),
        ("**3 + 4 = 8**", "3 + 4 = 8"),
        (r"\[ 3 \times 4 = 13 \]", "3 * 4 = 13"),
        ("12 - 5 = 7 - 3 = 4", "12 - 5 = 7 - 3 = 4"),
        ("1/3 = 0.33", "1/3 = 0.33"),
        ("3 * $4 = $13.", "3 * 4 = 13"),
    ],
)
def test_false_equations(text: str, equation: str) -> None:
    assert false_equation(text) == equation


@pytest.mark.parametrize(
    "text",
    [
        "48/2 = 24.\nSo 48 + 24 = 72", "-3 + 4 = 1", "(3) + 4 = 7", "1/3 ≈ 0.33", "1/3 = 0.33...",
        # Parts of something else.
        "y + 3 = 7", "2x = 4", "x = 5", "f(3) = 9", "half of 50 = 25", "half of 50 + 2 = 27",
        "the sum of 3 and 4 = 7", "50 * 2 = 100%", "17 / 5 = 3 remainder 2", "3 > 2 = 2",
        "5 cm + 3 cm = 8 cm", "2 apples * 3 = 7",
    ],
)  # fmt: skip
def test_equations_that_hold_or_cannot_be_read(text: str) -> None:
    assert false_equation(text) is None


@pytest.mark.parametrize(
    ("answer", "gold", "verdict"),
    [
        ("3 + 4 = 7\n7 * 5 = 35\nThe value is 35.", "35", "correct"),
        ("3 + 4 = 8\n7 * 5 = 35\nThe value is 35.", "35", "wrong"),
        ("3 + 4 = 7\n7 * 5 = 36\nThe value is 36.", "35", "wrong"),
        ("The answer is (3 + 4) * 5.", "35", "correct"),
        (r"\boxed{2^{10}}", "1024", "correct"),
        ("The value is 35/2.", "17.5", "correct"),
        ("It is 35 apples.", "35", "correct"),
        ("I do not know.", "35", "unparsable"),
        ("9^9^9^9", "35", "unparsable"),
    ],
)
def test_the_checker(answer: str, gold: str, verdict: str) -> None:
    assert check_answer("arithmetic", answer, gold) is AnswerVerdict(verdict)


def test_gold_answers_have_a_value() -> None:
    assert is_gold("arithmetic", "so 3 + 4 = 7")
    assert not is_gold("arithmetic", "The sky is blue.")
