r"""Numbers as answers: the value that a text names in the end, with its unit, or none.

    "The answer is 12 hours."       12 hours          \boxed{\frac{3}{4}}      3/4
    "#### $1,234.50"                1234.5 dollars    "The answer is 10:30"    none
    "so 3 + 4 = 7"                  7                 \boxed{x^2+9}            none

After an announcement (curate.answers.spans), the number has to stand alone but for a unit from a list
(curate.answers.units): it is the whole answer or no answer. Without one the last number of the last
sentence that has any counts, unless it is part of something else: a sum, a pair, a list, a time.
"""

from dataclasses import dataclass
from fractions import Fraction

import regex

from curate.answers.spans import CUT_OFF, SENTENCE_END, announced_span, bare_span, plain_math
from curate.answers.units import SCALES, Unit, find_unit

WHOLE = r"\d{1,3}(?:,\d{3})+(?!\d)|\d+"
DECIMAL = rf"(?:(?:{WHOLE})(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
RATIO = (
    r"\\frac\s*(?:\{\s*(?P<top>-?\d+)\s*\}|(?P<top>\d)|\s(?P<top>\d+))"
    r"\s*(?:\{\s*(?P<bottom>\d+)\s*\}|(?P<bottom>\d))"
    r"|(?P<top>\d+)\s?/\s?(?P<bottom>\d+)(?![\d.,]*\d)"
)
SIGN = r"(?P<sign>[-+])?\s?"
MONEY = r"(?P<money>[$€£¥₹])?\s?"
NUMBER = (
    rf"(?:{SIGN}{MONEY}|{MONEY}{SIGN})"
    rf"(?:(?P<whole>\d+)(?:\s+(?=\d)|\s*(?=\\frac)))?(?:{RATIO})"
    rf"|(?:{SIGN}{MONEY}|{MONEY}{SIGN})(?P<decimal>{DECIMAL})"
)
LEAD = (
    r"(?:(?:exactly|only|just|simply|therefore|thus|then|hence|so|now|equal to|a total of)\b[\s,:]*)*"
    r"(?:(?P<variable>(?-i:[A-Za-z]))\s?=\s?)?"
)
ALONE = regex.compile(rf"(?i:{LEAD})(?:{NUMBER})(?P<rest>\D.*)?", regex.S)
INSIDE = regex.compile(rf"(?<![\w.,/:^_\\{{}}])(?:{NUMBER})(?![\w\\{{^_])")
LONG_EXPONENT = regex.compile(r"[eE][-+]?0*[1-9]\d{4}")
# What stands before or after a number that is part of something else, or not what is meant.
BEFORE = regex.compile(
    r"(?:[-+*/×·÷^_<>±]|\w[(\[{]|\\\w+|(?:(?<![A-Za-z])[A-Za-z]|[)\]}]),|\b(?:minus|plus|times|over|by|x)"
    r"|n['’]t|\b(?:not|never|least|most|than|above|below|under|about|around|approximately|roughly|nearly|almost))$",
    regex.I,
)
# A minus there is a sign between two things.
OPERAND = regex.compile(r"(?:\d|(?<![A-Za-z])[A-Za-z]|[)\]}])$")
LISTED = regex.compile(r"\d\D{0,40}?(?:\b(?:and|or|to|through)|[,&–-])\s*$")
AFTER = regex.compile(
    r"[(\[{]|\.\.|…|\s*(?:[-+*/×·÷^_=:<>|\\]|\b(?:x|times|plus|minus|or|half|halves|quarters?|and a"
    r"|(?:thir|four|fif|six|seven|eigh|nin|ten)(?:d|th)s?)\b)"
)
ASSIGNED = regex.compile(r"\b([A-Za-z])\s?=")
OF_VARIABLE = regex.compile(r"\b([A-Za-z])\s?=$")
LONGEST_DIGITS = 4_000


@dataclass(frozen=True)
class Quantity:
    """A number as it is written, with a unit from the list and the variable that it is of, if any."""

    number: Fraction
    unit: Unit | None = None
    variable: str | None = None


def same_quantity(one: Quantity, other: Quantity) -> bool | None:
    """Return whether two quantities are equal; None where they measure different things.

    Where only one has a unit, the numbers are compared; likewise with variables.
    """
    if None not in (one.variable, other.variable) and one.variable != other.variable:
        return None
    if one.unit is None or other.unit is None:
        return one.number == other.number
    if one.unit.dimension != other.unit.dimension:
        return None
    return one.number * one.unit.factor == other.number * other.unit.factor


def find_quantity(text: str) -> Quantity | None:
    """Return the quantity that a text names in the end, None if it names none for sure."""
    span = announced_span(text)
    if span is not None:
        return read_quantity(span)
    return read_quantity(text) or _last_quantity(text)


def find_number(text: str) -> Fraction | None:
    """Return the number of the quantity that a text names in the end."""
    quantity = find_quantity(text)
    return None if quantity is None else quantity.number


def read_quantity(span: str) -> Quantity | None:
    """Return the quantity that a text is, None if it is anything else or says more."""
    bare = "" if CUT_OFF.search(span) else bare_span(span)
    alone = ALONE.fullmatch(
        bare.removeprefix("(").removesuffix(")") if _in_brackets(bare) else bare
    )
    return _quantity_of(alone, alone["rest"] or "", alone["variable"]) if alone else None


def _in_brackets(text: str) -> bool:
    return text.startswith("(") and text.endswith(")") and text.count("(") == 1


def _quantity_of(number: "regex.Match[str]", beside: str, variable: str | None) -> Quantity | None:
    """Return a number with all that stands behind it, None if that is no unit."""
    value = _value_of(number)
    scale, _, unit = beside.strip(" -").partition(" ")
    if value is not None and scale.casefold() in SCALES:
        value, beside = value * SCALES[scale.casefold()], unit
    beside = beside.strip(" -")
    money, named = find_unit(number["money"] or ""), find_unit(beside)
    if value is None or (beside and (named is None or (money and money != named))):
        return None
    return Quantity(value, money or named, variable)


def _value_of(number: "regex.Match[str]") -> Fraction | None:
    if max(map(len, filter(None, number.groups()))) > LONGEST_DIGITS:
        return None
    sign = -1 if number["sign"] == "-" else 1
    if number["decimal"]:
        # Written out, a few characters would be gigabytes.
        too_long = LONG_EXPONENT.search(number["decimal"])
        return None if too_long else sign * Fraction(number["decimal"].replace(",", ""))
    top, bottom = int(number["top"]), int(number["bottom"])
    return sign * (int(number["whole"] or 0) + Fraction(top, bottom)) if bottom else None


def _last_quantity(text: str) -> Quantity | None:
    """Return the last quantity of the last sentence that has a digit, if nothing hangs on it."""
    sentences = [part for part in SENTENCE_END.split(text) if regex.search(r"\d", part)]
    if not sentences:
        return None
    sentence = regex.sub(
        r"[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}(?=\W|$)", "", plain_math(sentences[-1])
    )
    numbers = list(INSIDE.finditer(sentence))
    if not numbers:
        return None
    number = numbers[-1]
    before, after = sentence[: number.start()].rstrip(), sentence[number.end() :]
    several = bool(regex.search(r"\d", after) or LISTED.search(before))
    several = several or len(set(ASSIGNED.findall(sentence))) > 1
    operand = number["sign"] and OPERAND.search(before)
    part_of_more = several or operand or BEFORE.search(before) or AFTER.match(after)
    if part_of_more:
        return None
    variable = OF_VARIABLE.search(before)
    return _quantity_of(number, _unit_behind(after), variable[1] if variable else None)


def _unit_behind(text: str) -> str:
    """Return the longest unit that a text starts with, after a scale; empty if it starts with none."""
    words = regex.split(r"(?<=\S)(?=\s)", regex.split(r"[,;.!?)\]}\"]", text, maxsplit=1)[0])[:5]
    for count in range(len(words), 0, -1):
        phrase = "".join(words[:count])
        scale, _, unit = phrase.strip(" -").partition(" ")
        if find_unit(phrase.strip(" -")) or (
            scale.casefold() in SCALES and (not unit or find_unit(unit))
        ):
            return phrase
    return ""
