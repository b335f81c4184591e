r"""Expressions as answers: the LaTeX that a text names in the end, ready for math-verify, or none.

    "\boxed{2\sqrt{3} \text{ cm}}"       2\sqrt{3}, in centimetres
    "So it is $x^2+9$."                  x^2+9
    "The answer is no solution"          none: words would be products of their letters

It is what is announced (curate.answers.spans), else the formula that ends the last sentence, else the
whole of a short line.
"""

from dataclasses import dataclass
from fractions import Fraction

import regex

from curate.answers.mathanswers import compare_math
from curate.answers.quantities import PERCENT, find_quantity, same_quantity
from curate.answers.spans import CUT_OFF, SENTENCE_END, announced_span, bare_span
from curate.answers.units import Unit, find_unit

FORMULA = regex.compile(r"(\$\$.+\$\$|\$[^$]+\$|\\\(.+\\\)|\\\[.+\\\])[\s.*_]*", regex.S)
SHORT_LETTERS = 120
SIGNS = {
    "×": r"\times ", "·": r"\cdot ", "÷": r"\div ", "π": r"\pi ", "∞": r"\infty ", "≤": r"\le ",
    "≥": r"\ge ", "≠": r"\ne ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in ", "²": "^2", "³": "^3",
}  # fmt: skip
ROOT = regex.compile(r"(?:√|(?<![\\a-z])sqrt)\s*(?:\(([^()]*)\)|(\d+|[a-z]))", regex.I)
NAMED = regex.compile(r"(?<![\\A-Za-z])(?:sin|cos|tan|log|ln|exp|pi|max|min|gcd|lcm)(?![A-Za-z])")
BETWEEN = regex.compile(r"\s+(?:and|or)\s+")
PROSE = regex.compile(r"[^\W\d_]{3,}|^\s*[^\W\d_]{2,}\s*$|[^\W\d_a-zA-Z\p{Greek}]")
# Not read as it is meant: 0x1F, 3rd, 3 pm, ranges, what is about right, bases beside other things.
UNREAD = regex.compile(
    r"(?<![\w.])0[xXbBoO][0-9A-Fa-f]|\d\s?(?:st|nd|rd|th|[ap]m)\b|[–—≈≃≅≡∼~?]|\d\s*_"
    r"|(?<![\d.])0\d+\s?/",
    regex.I,
)
BASED = regex.compile(r"\(?([0-9A-Za-z]+)\)?\s*_\s*(?:\{\s*(\d{1,2})\s*\}|(\d))")
# 1,5 and 1.000,5: a decimal or a list.
UNCLEAR = regex.compile(r"[-+]?\d[\d.']*(?:,\d[\d.']*)+")
SCIENTIFIC = regex.compile(r"(?<=\d)\s?[x*]\s?(?=10\s?\^)")
COMMAND_NAMES = regex.compile(r"\\(?:begin|end)\s*\{[a-z]+\*?\}|\\[A-Za-z]+")


@dataclass(frozen=True)
class Expression:
    """LaTeX without its unit, and the unit if one from the list stands behind it."""

    latex: str
    unit: Unit | None = None


def same_expression(gold: str, answer: str) -> bool | None:
    """Return whether an answer names what the gold one names; None where that cannot be said.

    Plain numbers are compared exactly, and all else by math-verify.
    """
    number, other_number = find_quantity(gold), find_quantity(answer)
    if number is not None and other_number is not None:
        return same_quantity(number, other_number)
    based = _read_based(gold), _read_based(answer)
    if based != (None, None):
        return None if None in based else based[0] == based[1]
    one, other = find_expression(gold), find_expression(answer)
    if one is None or other is None or _differ_in_kind(one.latex, other.latex):
        return None
    factor = Fraction(1)
    if one.unit is not None and other.unit is not None:
        if one.unit.dimension != other.unit.dimension:
            return None
        factor = other.unit.factor / one.unit.factor
    scaled = other.latex if factor == 1 else rf"{_fraction(factor)} \cdot ({other.latex})"
    same = compare_math(one.latex, scaled)
    in_percent = [e.unit == PERCENT for e in (one, other)]
    return None if same and in_percent[0] != in_percent[1] else same


def _read_based(text: str) -> int | None:
    """Return the value of a number that is written with its base, as 101_2; None of any other text."""
    span = _named_span(text)
    numeral = BASED.fullmatch(bare_span(span))
    if numeral is None or CUT_OFF.search(span):
        return None
    base = int(numeral[2] or numeral[3])
    try:
        return int(numeral[1], base) if base > 1 else None
    except ValueError:
        return None


def _differ_in_kind(one: str, other: str) -> bool:
    """Return whether two expressions differ in what math-verify leaves aside: case and brackets.

    So do 1,5 and 15: the comma may be a decimal one.
    """
    letters = [
        set(regex.findall(r"[A-Za-z]", COMMAND_NAMES.sub(" ", text))) for text in (one, other)
    ]
    folded = [{letter.casefold() for letter in part} for part in letters]
    ordered = [text.startswith(("(", "[")) and "," in text for text in (one, other)]
    unclear = [UNCLEAR.fullmatch(text) is not None for text in (one, other)]
    unordered = [text.startswith(r"\{") for text in (one, other)]
    return (letters[0] != letters[1] and folded[0] == folded[1]) or (
        (ordered[0] and unordered[1])
        or (unordered[0] and ordered[1])
        or (unclear[0] and "," not in other)
        or (unclear[1] and "," not in one)
    )


def is_expression(text: str) -> bool:
    """Return whether a text names something that can be compared."""
    if find_quantity(text) is not None or _read_based(text) is not None:
        return True
    expression = find_expression(text)
    return expression is not None and compare_math(expression.latex) is True


def find_expression(text: str) -> Expression | None:
    """Return the expression that a text names in the end, None if it names none for sure."""
    quantity = find_quantity(text)
    if quantity is not None:
        return Expression(_fraction(quantity.number), quantity.unit)
    span = _named_span(text)
    latex, unit = _without_unit(bare_span(span))
    latex = _as_latex(latex)
    # A colon may be a time or a ratio, and dots stand for what is not there.
    words = COMMAND_NAMES.sub(" ", latex)
    unread = ":" in latex or CUT_OFF.search(span) or PROSE.search(words) or UNREAD.search(words)
    # 5! at the end of a sentence may be a factorial or none.
    exclaimed = span.endswith("!") and not ("$" in span or r"\boxed" in text)
    return None if not latex or unread or exclaimed else Expression(latex, unit)


def _named_span(text: str) -> str:
    """Return what a text announces, else the formula or the short line that it is."""
    span = announced_span(text)
    return _last_formula(text) if span is None else span


def _fraction(number: Fraction) -> str:
    sign, size = "-" if number < 0 else "", abs(number)
    whole = size.denominator == 1
    return f"{sign}{size}" if whole else rf"{sign}\frac{{{size.numerator}}}{{{size.denominator}}}"


def _last_formula(text: str) -> str:
    """Return the formula at the end of the last sentence, else a short line as it is."""
    lines = [part for part in SENTENCE_END.split(text.strip()) if part.strip()]
    if not lines:
        return ""
    formulas = list(FORMULA.finditer(lines[-1]))
    if formulas and formulas[-1].end() == len(lines[-1]):
        return formulas[-1][1]
    return lines[0] if len(lines) == 1 and len(lines[0]) <= SHORT_LETTERS else ""


def _without_unit(text: str) -> tuple[str, Unit | None]:
    """Return a text without the longest unit that it ends with, and that unit."""
    for place in regex.finditer(r"(?<=[\d)}\]a-z])\s+(?=\S)|(?=[%°])", text):
        unit = find_unit(text[place.end() :])
        if unit is not None:
            return text[: place.start()], unit
    money = find_unit(text[:1]) if text[:1] in set("$€£¥₹") else None
    return (text[1:], money) if money else (text, None)


def _as_latex(text: str) -> str:
    for sign, command in SIGNS.items():
        text = text.replace(sign, command)
    text = ROOT.sub(lambda root: rf"\sqrt{{{root[1] or root[2]}}}", text)
    text = SCIENTIFIC.sub(r"\\times ", text)
    text = NAMED.sub(lambda name: rf"\{name[0]} ", text)
    return BETWEEN.sub(", ", text).strip()
