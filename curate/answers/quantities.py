r"""Numbers as answers: the value that a text names in the end, with its unit, or none.

    "The answer is 12 hours."       12 hours          \boxed{\frac{3}{4}}      3/4
    "#### $1,234.50"                1234.5 dollars    "The answer is 10:30"    none
    "so 3 + 4 = 7"                  7                 \boxed{x^2+9}            none
    "1 000 000"                     1000000           "1.000,5", "1,5", "101_2"  none

After an announcement (curate.answers.spans), the number has to stand alone but for a unit from a list
(curate.answers.units): it is the whole answer or no answer. Without one the last number of the last
sentence that has any counts, unless it is part of something else: a sum, a pair, a list, a time.
"""

from dataclasses import dataclass, replace
from fractions import Fraction

import regex

from curate.answers.numberwords import is_spelled
from curate.answers.spans import CUT_OFF, SENTENCE_END, announced_span, bare_span, plain_math
from curate.answers.units import Unit, find_unit, scale_of
from curate.core.latepattern import late_pattern

# With commas, spaces or apostrophes between thousands. 1,5 may be a decimal, a list or a mistake.
WHOLE = r"[1-9]\d{0,2}(?:,\d{3})+(?!\d)|[1-9]\d{0,2}(?:[ '’]\d{3})+(?![\d'’])|\d+"
DECIMAL = rf"(?:(?:{WHOLE})(?:\.\d+)?|\.\d+)(?:[eE][-+]?\d+)?"
POWER = (
    r"(?:\s?(?:\\times|\\cdot|[×·*x])\s?10\s?\^\s?"
    r"(?:\{\s*(?P<power>-?\d{1,4})\s*\}|(?P<power>-?\d{1,4})))?"
)
RATIO = (
    r"\\frac\s*(?:\{\s*(?P<top>-?\d+)\s*\}|(?P<top>\d)|\s(?P<top>\d+))"
    r"\s*(?:\{\s*(?P<bottom>\d+)\s*\}|(?P<bottom>\d))"
    # 01/02 is a date.
    r"|(?P<top>0|[1-9]\d*)\s?/\s?(?P<bottom>[1-9]\d*)(?![\d.,]*\d)"
)
SIGN = r"(?P<sign>[-+])?\s?"
MONEY = r"(?P<money>(?-i:US)?\$|[€£¥₹]|(?-i:\b(?:USD|EUR|GBP|JPY|INR|CHF|CNY|AUD|CAD)\b))?\s?"
NUMBER = (
    rf"(?:{SIGN}{MONEY}|{MONEY}{SIGN})"
    rf"(?:(?P<whole>\d+)(?:\s+(?=\d)|\s*(?=\\frac)))?(?:{RATIO})"
    rf"|(?:{SIGN}{MONEY}|{MONEY}{SIGN})(?P<decimal>{DECIMAL}){POWER}"
)
LEAD = (
    r"(?:(?:exactly|only|just|simply|therefore|thus|then|hence|so|now|equal to|a total of)\b[\s,:]*)*"
    r"(?:(?P<variable>(?-i:[A-Za-z]))\s?=\s?)?"
)
ALONE = late_pattern(rf"(?i:{LEAD})(?:{NUMBER})(?P<rest>\D.*)?", regex.S)
INSIDE = late_pattern(rf"(?<![\w.,/:^_\\{{}}])(?:{NUMBER})(?![\w\\{{^_])")
LONG_EXPONENT = late_pattern(r"[eE][-+]?0*[1-9]\d{4}")
# What stands before or after a number that is part of something else, or not what is meant.
MONTHS = (
    "january|february|march|april|may|june|july|august|september|october|november|december"
    "|jan|feb|mar|apr|jun|jul|aug|sept?|oct|nov|dec"
)
BEFORE = late_pattern(
    r"(?:[-+*/×·÷^_<>±≤≥≠≈≃≅≡∼~√∛∜⌊⌈#№$€£¥₹–—]|\w[(\[{]|\.\(|\\\w+|(?:(?<![A-Za-z])[A-Za-z]|[)\]}]),"
    r"|(?-i:\b[A-Z]{2,3})"
    rf"|\b(?:(?:{MONTHS})\.?|no\.|nr\.|minus|negative|plus|times|over|by|x|log|ln|exp|sin|cos|tan"
    r"|sqrt|(?:root|half|third|quarter|percent|factorial) of)"
    r"|n['’]t|\b(?:not|never|least|most|than|above|below|under|about|around|approximately|roughly|nearly|almost))$",
    regex.I,
)
# A minus there is a sign between two things.
OPERAND = late_pattern(r"(?:\d|(?<![A-Za-z])[A-Za-z]|[)\]}])$")
# 2, 3; x = 2 or x = 3; 2 out of 3; 5 (6); 5'10"
LISTED = late_pattern(
    r"\d\D{0,40}?(?:\b(?:and|or|to|through)|[,;&–、或和与與及-])\s*(?:[A-Za-z]\s?=)?\s*$"
    r"|\d\D{0,20}?(?:\b(?:out of|in|per|vs\.?|versus|mod|modulo|remainder|r)|%\s*of)\s*$|\d\s+of\s*$"
    r"|\d[^()\[\]]*[(\[][^)\]]*$"
    r"|\d\s*['’′\"″°]?\s*$"
)
AFTER = late_pattern(
    r"\s*[(\[{]|[!?‰′″]|\.\.|…|\s*(?:[-+*/×·÷^_=:<>|\\–—~±]"
    r"|\b(?:x|times|plus|minus|or|half|halves|quarters?|and a|below|recurring|repeating"
    r"|(?:thir|four|fif|six|seven|eigh|nin|ten|hundred|thousand|million)(?:d|th)s?|o['’]clock)\b"
    r"|[ap]\.?m\b|(?-i:[KMBTG]\b)|[十百千万萬亿億兆])",
    regex.I,
)
# Behind a number these are no unit.
NO_UNIT = frozenset(
    regex.findall(
        r"\w+",
        """
a again all also altogether an and are as at be because been before but by combined each every
extra for from he here if in instead is it left less more now of on or other overall per remain
remaining she since so than that the then there they this to today together total was we were
when which while who with you after
""",
    )
)
# Of so many, capitals count: mW is not MW.
SYMBOL_LETTERS = 3
WORD_BEHIND = late_pattern(r"[\s-]*([^\W\d_]{2,})")
# 1 hour 30 minutes.
UNIT_BEFORE = late_pattern(r"\d\s*([^\W\d_]+)$")
# $5 per hour.
RATE = late_pattern(r"\s*(per|an?)\s+(\w+)")
# A number in figures and in words, or twice: 12 (twelve), twelve (12), 12 (12 hours).
TWICE = late_pattern(r"([^()]*\S)\s*\(([^()]+)\)")
ASSIGNED = late_pattern(r"\b([A-Za-z])\s?=")
OF_VARIABLE = late_pattern(r"\b([A-Za-z])\s?=$")
# Between two letters or digits such a sign is none of Markdown's: 101_2, 2*3.
EMPHASIS = late_pattern(r"(?<!\w)[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}(?!\w)")
LONGEST_DIGITS = 4_000
NEAR = 200
PERCENT = find_unit("%")


@dataclass(frozen=True)
class Quantity:
    """A number as it is written, with a unit from the list and the variable that it is of, if any."""

    number: Fraction
    unit: Unit | None = None
    variable: str | None = None


def same_quantity(one: Quantity, other: Quantity) -> bool | None:
    """Return whether two quantities are equal; None where they measure different things.

    Where only one has a unit, the numbers are compared; likewise with variables. But whether 10 is
    meant as 10 % cannot be said.
    """
    if None not in (one.variable, other.variable) and one.variable != other.variable:
        return None
    if one.unit is None or other.unit is None:
        equal = one.number == other.number
        return None if equal and PERCENT in (one.unit, other.unit) else equal
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
    twice = TWICE.fullmatch(bare)
    return _read_twice(twice[1], twice[2]) if twice else _read_once(bare)


def _read_twice(one: str, other: str) -> Quantity | None:
    """Return the quantity that two texts say in figures or words, None unless they agree."""
    first, second = _read_once(bare_span(one)), _read_once(bare_span(other))
    if first is not None and second is not None:
        return first if same_quantity(first, second) else None
    quantity, words = (first, other) if first is not None else (second, one)
    whole = quantity is not None and quantity.number.denominator == 1
    return quantity if quantity and whole and is_spelled(int(quantity.number), words) else None


def _read_once(bare: str) -> Quantity | None:
    alone = ALONE.fullmatch(
        bare.removeprefix("(").removesuffix(")") if _in_brackets(bare) else bare
    )
    return _quantity_of(alone, alone["rest"] or "", alone["variable"]) if alone else None


def _in_brackets(text: str) -> bool:
    return text.startswith("(") and text.endswith(")") and text.count("(") == 1


def _quantity_of(number: "regex.Match[str]", beside: str, variable: str | None) -> Quantity | None:
    """Return a number with all that stands behind it, None if that is no unit."""
    value = _value_of(number)
    # A hyphen joins a unit, as in 12-hour; behind one, or alone, it is something else.
    beside = regex.sub(r"^\s*-(?=[^\W\d_])", "", beside).strip()
    scale, _, unit = beside.partition(" ")
    if value is not None and scale_of(scale):
        value, beside = value * scale_of(scale), unit.strip()
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
        plain = regex.sub(r"[, '’]", "", number["decimal"])
        return (
            None if too_long else sign * Fraction(plain) * Fraction(10) ** int(number["power"] or 0)
        )
    top, bottom = int(number["top"]), int(number["bottom"])
    return sign * (int(number["whole"] or 0) + Fraction(top, bottom)) if bottom else None


def _last_quantity(text: str) -> Quantity | None:
    """Return the last quantity of the last sentence that has a digit, if nothing hangs on it."""
    sentences = [part for part in SENTENCE_END.split(text) if regex.search(r"\d", part)]
    if not sentences:
        return None
    sentence = EMPHASIS.sub("", plain_math(sentences[-1]))
    if sentence.rstrip().endswith("?"):
        return None
    numbers = list(INSIDE.finditer(sentence))
    if not numbers:
        return None
    number = numbers[-1]
    # What hangs on a number stands near it; in all of a long text the patterns would search for minutes.
    before = sentence[max(number.start() - NEAR, 0) : number.start()].rstrip()
    after = sentence[number.end() :]
    several = bool(regex.search(r"\d", after) or LISTED.search(before))
    several = several or len(set(ASSIGNED.findall(sentence))) > 1
    operand = number["sign"] and OPERAND.search(before)
    unit_before = UNIT_BEFORE.search(before)
    several = several or bool(unit_before and find_unit(unit_before[1]))
    part_of_more = several or operand or BEFORE.search(before) or AFTER.match(after)
    if part_of_more:
        return None
    variable = OF_VARIABLE.search(before)
    quantity = _quantity_of(number, _unit_behind(after), variable[1] if variable else None)
    if quantity is None:
        return None
    return replace(quantity, unit=_unit_in_prose(quantity.unit, number["money"], after))


def _unit_in_prose(unit: Unit | None, money: str | None, after: str) -> Unit | None:
    """Return the unit of a number in a sentence: of the list, a rate of money, or an unlisted word.

    Of an unlisted word it can be said that another one is something else: 3 zorgs are no 3 hours.
    """
    rate = RATE.match(after)
    if money and rate:
        return find_unit(f"{money} per {rate[2]}") or (
            Unit(f"{money} per {rate[2]}", Fraction(1)) if rate[1] == "per" else unit
        )
    word = WORD_BEHIND.match(after)
    if unit is not None or word is None or _is_no_unit(word[1]):
        return unit
    name = word[1] if len(word[1]) <= SYMBOL_LETTERS else word[1].casefold().removesuffix("s")
    return Unit(f"of {name}", Fraction(1))


def _is_no_unit(word: str) -> bool:
    return word.casefold() in NO_UNIT or bool(scale_of(word))


def _unit_behind(text: str) -> str:
    """Return the longest unit that a text starts with, after a scale; empty if it starts with none."""
    words = regex.split(r"(?<=\S)(?=\s)", regex.split(r"[,;.!?)\]}\"]", text, maxsplit=1)[0])[:5]
    for count in range(len(words), 0, -1):
        phrase = "".join(words[:count])
        scale, _, unit = phrase.strip(" -").partition(" ")
        if find_unit(phrase.strip(" -")) or (scale_of(scale) and (not unit or find_unit(unit))):
            return phrase
    return ""
