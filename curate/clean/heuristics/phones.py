"""Phone numbers, as the plans of their regions have them (phonenumbers, Google's lists).

    030 1234567       DE: grouped as the plan has it
    4155552671        US: in one piece, from 9 digits on
    call 31234        KI: short, or in one piece, behind a word such as call
    +33 1 23 45 67 89   of any region, for it names its own

What has the form of a number is a year or a sum far more often where it is short (1685 is one in GB).
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import phonenumbers
import regex
from phonenumbers import Leniency, PhoneMetadata, PhoneNumberMatcher

from curate.clean.heuristics.personal import OTHER_NAMED, Kind, Span, digits, is_no_phone

SHORTEST, SHORTEST_PIECE = 7, 9
WORDS = (
    r"phone|telephone|mobile|cell(?:ular|phone)?|fax|whatsapp|hotline|call|text|dial|ring|reach|contact"
    r"|numbers?|tel|tél|t[ée]l[ée]phone|telefon\w*|tel[ée]fono|handy|rufnummer|m[óo]vil|celular"
    r"|portable|cellulare|тел|телефон\w*"
)
CUE = regex.compile(rf"(?:\b(?:{WORDS})\b|{OTHER_NAMED})\P{{N}}{{0,30}}\Z", regex.I)
# Sums and prices; and years from one to another.
BEFORE = regex.compile(r"(?:[$€£¥₹=<>*÷×%^/_]|\d[.,]?) ?\Z")
GLUED = regex.compile(r"(?:[A-Za-z_)\]]|\d ?)\Z")
AFTER = regex.compile(r" ?(?:[=<>*÷×%^€/_]|[.,]?\d)")
YEARS = regex.compile(r"\(?[12]\d{3} ?\p{Pd} ?[12]\d{3}\)?$")
# What may stand between two digits of one number: blanks, dashes, dots, brackets, slashes.
BETWEEN = r"[\p{Z}\t\p{Pd}.()\[\]/~]{0,4}"


@dataclass(frozen=True)
class InternationalPhone:
    """Numbers of any region that are written with + and its code, in one piece or grouped anyhow."""

    kind: Kind = "phone"
    hint: str = rf"[+＋]{BETWEEN}(?:\d{BETWEEN}){{{SHORTEST - 1}}}\d"

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where numbers stand in a text."""
        for match in PhoneNumberMatcher(text, None, leniency=Leniency.VALID):
            value = match.raw_string
            start = match.start + ("(" in value and ")" not in value)
            is_sum = GLUED.search(text[max(start - 3, 0) : start]) or AFTER.match(text[match.end :])
            if not is_sum and not is_no_phone(value):
                yield Span("phone", start, match.end)


@dataclass(frozen=True)
class RegionalPhone:
    """Numbers that a region gives out, in one of the ways in which they are grouped there.

    Args:
        region: ISO 3166 code, e.g. DE.
    """

    region: str
    kind: Kind = "phone"

    @functools.cached_property
    def hint(self) -> str:
        """For Polars: as many digits as a bare number has, or fewer behind a word."""
        metadata = PhoneMetadata.metadata_for_region(self.region)
        numbers = metadata and metadata.general_desc
        if not numbers:
            raise KeyError(self.region)
        shortest = min(numbers.possible_length)
        bare, called = (rf"(?:\d{BETWEEN}){{{n - 1}}}\d" for n in (SHORTEST, shortest))
        called = rf"(?i:{WORDS}|{OTHER_NAMED})\P{{N}}{{0,30}}{called}"
        return bare if shortest >= SHORTEST else f"{bare}|{called}"

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where numbers stand in a text."""
        matcher = PhoneNumberMatcher(text, self.region, leniency=Leniency.STRICT_GROUPING)
        for match in matcher:
            value, before, after = (
                match.raw_string,
                text[max(match.start - 60, 0) : match.start],
                text[match.end :],
            )
            if not is_no_phone(value) and not YEARS.match(value) and _fits(value, before, after):
                yield Span("phone", match.start, match.end)


def _fits(value: str, before: str, after: str) -> bool:
    """Return whether a number is called one, or is long enough and in no sum."""
    if CUE.search(before[-60:]):
        return True
    count = len(digits(value))
    in_one_piece = value.strip("()").isdigit()
    return (
        count >= (SHORTEST_PIECE if in_one_piece else SHORTEST)
        and len(set(digits(value))) > 2
        and not BEFORE.search(before[-3:])
        and not AFTER.match(after[:3])
    )


def unknown_regions(codes: Sequence[object]) -> list[object]:
    """Return which of some codes name no region that has phone numbers."""
    return [code for code in codes if code not in phonenumbers.SUPPORTED_REGIONS]
