"""Where personal data stands in a text: forms with a check, so that a number is more than digits.

email          not at the domains that are set aside for examples (RFC 2606)
    phone          with +, in North American form, or after a word such as phone; not 555-01xx
credit_card    prefix and length of a brand, and the check digit (Luhn, ISO/IEC 7812)
iban           length of the country, and the checksum (ISO 7064, mod 97)
ip_address     public ones alone; no version or section numbers
ssn            of the United States, ranges that are given out
secret         keys and tokens of known services, private keys, passwords in addresses of the web
"""

import functools
import ipaddress
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, Protocol

import regex
from stdnum import numdb

from curate.core.keyforms import KEY_FORMS, KeyForm

FormKind = Literal["email", "phone", "credit_card", "iban", "ip_address", "ssn", "secret"]
Kind = FormKind | Literal["name"]


@dataclass(frozen=True)
class Span:
    """A piece of a text, by its first character and the one behind its last."""

    kind: Kind
    start: int
    end: int


class Detector(Protocol):
    """What finds one kind of data in a text.

    `hint` is for Polars and finds every text that `spans` finds something in.
    """

    @property
    def kind(self) -> Kind:
        """Return what it finds."""

    @property
    def hint(self) -> str:
        """Return the pattern of texts that are worth a look."""

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where pieces stand in a text."""


@dataclass(frozen=True)
class PatternDetector:
    """How a kind of data is written.

    `hint` is for Polars and finds every text that `pattern` finds; `check` is asked of the piece
    found, of the text and the place where it stands. Of a form that `cuts`, what follows a separator may
    belong to it no more.
    """

    kind: Kind
    hint: str
    pattern: "regex.Pattern[str]"
    check: Callable[[str, str, int], bool]
    cuts: bool = False

    def spans(self, text: str) -> Iterator[Span]:
        """Yield where pieces of this form stand in a text."""
        for match in self.pattern.finditer(text):
            named = "value" in self.pattern.groupindex
            start, end = match.span("value") if named else match.span()
            value = text[start:end]
            lengths = _cuts(value) if self.cuts else [len(value)]
            fitting = (n for n in lengths if self.check(value[:n], text, start))
            length = next(fitting, None)
            if length is not None:
                yield Span(self.kind, start, start + length)


def find_personal(text: str, detectors: Iterable[Detector]) -> list[Span]:
    """Return the personal data in a text, in order and without overlaps; the surer detector first."""
    spans: list[Span] = []
    for detector in detectors:
        spans += [s for s in detector.spans(text) if not any(_overlap(s, t) for t in spans)]
    return sorted(spans, key=lambda span: span.start)


def mask(text: str, spans: list[Span]) -> str:
    """Return the text with the name of its kind in the place of each span."""
    parts, at = [], 0
    for span in spans:
        parts += [text[at : span.start], f"[{span.kind.upper()}]"]
        at = span.end
    return "".join([*parts, text[at:]])


def _cuts(value: str) -> list[int]:
    """Return the lengths at which a value may end, the longest first: before each separator."""
    return [len(value), *(i for i in range(len(value) - 1, 0, -1) if value[i] in " \xa0-")]


def _overlap(one: Span, other: Span) -> bool:
    return one.start < other.end and other.start < one.end


# --- checks ---------------------------------------------------------------------------------------

RESERVED = regex.compile(
    r"@(?:[\w-]+\.)*(?:example\.(?:com|net|org|edu)|[\w-]*\.?(?:example|test|invalid|localhost))$",
    regex.I,
)
# Visa, Mastercard, American Express, Diners Club, Discover, JCB, UnionPay: prefixes and lengths.
BRANDS = regex.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|(?:222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"
    r"|3[47]\d{13}|3(?:0[0-5]|[68]\d)\d{11}|6(?:011|5\d\d|4[4-9]\d)\d{12}"
    r"|35(?:2[89]|[3-8]\d)\d{12}|62\d{14}"
)
FICTION = regex.compile(r"555-?01\d\d$")
DATE = regex.compile(
    r"(?:19|20)\d\d[-./]\d|\d{1,2}[-./]\d{1,2}[-./](?:19|20)?\d\d$|(?:19|20)\d\d ?- ?(?:19|20)\d\d$"
)
NUMBERED = regex.compile(
    r"(?:version|ver|release|section|sect|chapter|clause|rule|kernel|build|linux|v|§|#)\.?\s?$",
    regex.I,
)
NOT_GIVEN = {"078051120", "219099999", "123456789"}
PHONE_DIGITS = (7, 15)


def digits(text: str) -> str:
    """Return the digits of a text, those of ASCII."""
    return "".join(c for c in text if c in "0123456789")


def passes_luhn(number: str) -> bool:
    """Return whether the last digit is the check digit of those before it."""
    doubled = [int(c) * 2 for c in number[-2::-2]]
    return (sum(map(int, number[-1::-2])) + sum(d - 9 if d > 9 else d for d in doubled)) % 10 == 0


@functools.cache
def iban_length(country: str) -> int | None:
    """Return how long the IBANs of a country are, None where it has none (python-stdnum's registry)."""
    _, facts = numdb.get("iban").info(country)[0]
    parts = regex.findall(r"(\d+)!", facts.get("bban", ""))
    return 4 + sum(map(int, parts)) if parts else None


def passes_mod97(iban: str) -> bool:
    """Return whether an IBAN, without spaces, has the length of its country and the right checksum."""
    moved = iban[4:] + iban[:4]
    return (
        len(iban) == iban_length(iban[:2])
        and int("".join(str(int(c, 36)) for c in moved)) % 97 == 1
    )


def _is_email(value: str, text: str, start: int) -> bool:
    return not RESERVED.search(value)


def _is_card(value: str, text: str, start: int) -> bool:
    number = digits(value)
    return bool(BRANDS.fullmatch(number)) and passes_luhn(number)


def _is_iban(value: str, text: str, start: int) -> bool:
    return passes_mod97(regex.sub(r"[ \xa0-]", "", value).upper())


def _is_public(value: str, text: str, start: int) -> bool:
    try:
        address = ipaddress.ip_address(value)
    except ValueError:
        return False
    if address.version == 4:
        # 3.2.1.45 is a section or a version far more often than a machine.
        numbered = NUMBERED.search(text[max(start - 12, 0) : start])
        if numbered or (address.packed[0] <= 10 and max(address.packed) < 100):
            return False
        return address.is_global and not address.is_multicast
    return address in ipaddress.ip_network("2000::/3") and address.is_global


def _is_ssn(value: str, text: str, start: int) -> bool:
    return digits(value) not in NOT_GIVEN


def is_no_phone(value: str) -> bool:
    """Return whether what has the form of a phone number is a date, or one of films (555-01xx)."""
    return bool(DATE.match(value) or FICTION.search(value))


def _is_phone(value: str, text: str, start: int) -> bool:
    phone_digits = [char for char in value if char.isdecimal()]
    fits = PHONE_DIGITS[0] <= len(phone_digits) <= PHONE_DIGITS[1] and len(set(phone_digits)) > 2
    return fits and not is_no_phone(value)


def _secret(form: KeyForm) -> PatternDetector:
    return PatternDetector(
        "secret", form.hint, form.pattern, lambda value, text, start: form.check(value)
    )


# --- forms ----------------------------------------------------------------------------------------

NAMED = (
    r"tel|tél|telephone|téléphone|telefon|teléfono|phone|mobile|cell|cellphone|fax|whatsapp"
    r"|call|text|dial|ring"
)
# In scripts that put no space around a word, or have no capitals: a few signs may stand behind it.
OTHER_NAMED = "电话|電話|手机|手機|携帯|전화|โทร|هاتف|جوال|फ़ोन|फोन"
# Of Chinese, Japanese and Korean these alone: an order or a price stands behind "手机" as well.
OTHER_BETWEEN = (
    r"(?:번호|연락처|微信|[号號码碼番是为為的请請打拨撥联聯系繫络絡办辦公는은이가はの]"
    r"|[^\d\n\p{Han}\p{Hangul}\p{Hiragana}\p{Katakana}\p{Latin}]){0,8}"
)
BETWEEN = r"(?:(?:me|us|him|her|them|at|on|is|no|nr|number|now|today)\b[.: ]{0,2}){0,3}"
FORMS: tuple[PatternDetector, ...] = (
    *(_secret(form) for form in KEY_FORMS),
    PatternDetector(
        "email",
        r"@[\w-]",
        regex.compile(
            r"(?<![\w.+%-])[\w.+%-]{1,64}(?<!\.)@(?:[\w-]{1,63}\.){1,6}\p{L}{2,24}(?![\w@-])"
        ),
        _is_email,
    ),
    PatternDetector(
        "iban",
        r"[A-Za-z]{2}\d{2}[ \x{a0}-]?[A-Za-z0-9]{4}",
        regex.compile(
            r"(?<![A-Za-z0-9])[A-Z]{2}\d{2}(?:[ \xa0-]?[A-Z0-9]{4}){2,7}(?:[ \xa0-]?[A-Z0-9]{1,3})?"
            r"(?![A-Za-z0-9])",
            regex.I,
        ),
        _is_iban,
        cuts=True,
    ),
    PatternDetector(
        "credit_card",
        r"(?:\d[ -]?){12}\d",
        regex.compile(r"(?<![\w.,+-])\d(?:[ -]?\d){12,18}(?![\w-]|[.,]\d)"),
        _is_card,
        cuts=True,
    ),
    PatternDetector(
        "ssn",
        r"\d{3}-\d{2}-\d{4}",
        regex.compile(r"(?<![\w-])(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}(?![\w-])"),
        _is_ssn,
    ),
    PatternDetector(
        "ip_address",
        r"\d{1,3}(?:\.\d{1,3}){3}",
        regex.compile(r"(?<![\w.-])\d{1,3}(?:\.\d{1,3}){3}(?![\w-]|\.\d)"),
        _is_public,
    ),
    PatternDetector(
        "ip_address",
        r"(?i)[23][0-9a-f]{3}:[0-9a-f:]+",
        regex.compile(r"(?<![\w:.])[23][0-9a-fA-F]{3}(?:::?[0-9a-fA-F]{1,4}){2,7}(?:::)?(?![\w:])"),
        _is_public,
    ),
    PatternDetector(
        "phone",
        r"\+[1-9]",
        regex.compile(
            r"(?<![\w+()])(?<!\d )\+[1-9]\d{0,2}(?:[ .\-/]{0,2}\(\d{1,5}\))?(?:[ .\-/]?\d{2,4}){2,6}\d?"
            r"(?![\w]|[.,]\d)"
        ),
        _is_phone,
    ),
    PatternDetector(
        "phone",
        r"\d{3}[.-]\d{4}",
        regex.compile(
            r"(?<![\w.\-/+])(?:1[ .-])?(?:\([2-9]\d\d\) ?|[2-9]\d\d[.\- ])[2-9]\d\d[.-]\d{4}"
            r"(?![\w-]|[.,]\d)"
        ),
        _is_phone,
    ),
    PatternDetector(
        "phone",
        r"(?:\d[ ().\-/]{0,6}){7}",
        regex.compile(
            rf"\b(?:{NAMED})\b[.: ]{{0,3}}{BETWEEN}"
            r"(?P<value>\(?\d[\d ().\-/]{5,18}\d)(?![\w%]|[.,]\d)",
            regex.I,
        ),
        _is_phone,
    ),
    PatternDetector(
        "phone",
        OTHER_NAMED,
        regex.compile(
            rf"(?:{OTHER_NAMED}){OTHER_BETWEEN}"
            r"(?<![A-Za-z_.-])(?P<value>\(?\d[\d ().\-/]{5,18}\d)(?![\dA-Za-z%-]|[.,]\d)"
        ),
        _is_phone,
    ),
)
KINDS: tuple[FormKind, ...] = (
    "email",
    "phone",
    "credit_card",
    "iban",
    "ip_address",
    "ssn",
    "secret",
)
