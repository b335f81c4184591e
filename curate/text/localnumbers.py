"""Numbers across languages: "1,000.5", "1.000,5", "1 000,5" and "١٠٠٠٫٥" may be the same one.

A number has every value that one of the two conventions reads in it: "1.000" is a thousand and one,
"7.5" is seven and a half and nothing else. Two numbers are the same where they share a value. What
neither reads (dates, versions, "1,00,000") is itself.
"""

import unicodedata
from collections import Counter
from decimal import Decimal

import regex

# Spaces group digits only by three.
NUMBER = regex.compile(
    r"(?<!\d)\d{1,3}(?:[ \u00a0\u202f]\d{3})+(?!\d)(?:[.,٫]\d+)?|\d+(?:[.,'’٬٫]\d+)*"
)
SIGNS = str.maketrans({"٬": ",", "٫": ".", "\u00a0": " ", "\u202f": " ", "’": "'"})
CONVENTIONS = tuple(
    (regex.compile(rf"\d{{1,3}}(?:[{group} ']\d{{3}})+(?:{point}\d+)?|\d+(?:{point}\d+)?"), point)
    for group, point in ((",", r"\."), (r"\.", ","))
)


def find_numbers(text: str) -> list[str]:
    """Return the numbers of a text as they stand, with the digits and signs of ASCII."""
    return [_ascii(match.group()) for match in NUMBER.finditer(text)]


def _ascii(number: str) -> str:
    digits = (str(unicodedata.decimal(c)) if c.isdecimal() else c for c in number)
    return "".join(digits).translate(SIGNS)


def values_of(number: str) -> frozenset[str | Decimal]:
    """Return the values that a number may have; itself if it is written in neither convention."""
    values: set[str | Decimal] = {
        Decimal(regex.sub(rf"[^\d{point}]", "", number).replace(",", "."))
        for convention, point in CONVENTIONS
        if convention.fullmatch(number)
    }
    return frozenset(values or {number})


def unmatched_numbers(text: str, other: str) -> tuple[list[str], list[str]]:
    """Return the numbers of either text that the other has not as often."""
    counts = Counter(find_numbers(text)), Counter(find_numbers(other))
    rest = list((counts[0] - counts[1]).elements())
    others = list((counts[1] - counts[0]).elements())
    for number in list(rest):
        same = next((n for n in others if values_of(n) & values_of(number)), None)
        if same is not None:
            rest.remove(number)
            others.remove(same)
    return rest, others
