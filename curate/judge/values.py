"""Short answers and final numbers: what can be compared by value, without a model.

    "42"                             number     42 = 42.0 = $42; number words are not read
    "(B)"                            choice     its letter
    "6 February 2029", "positive"    short      itself, but for case, marks around it, an article,
                                                a word and a colon before it in one of the two
    "48/2 = 24 ... #### 72"          final      the final number of a longer text

By whole values and never by substring: "nonagon" does not hold "no". Where an answer to a question with
such a value names none, nothing can be said by value (None), and the texts have to be compared.
"""

from fractions import Fraction
from typing import Literal

import regex

from curate.generate.checkers import ANNOUNCED, NUMBER, find_choice, find_number
from curate.rows import normalise

Form = Literal["number", "choice", "short", "final"]
SHORT_WORDS, SHORT_LETTERS = 5, 40
# An answer in a short sentence may have a few words more than the value.
SPOKEN_WORDS = 2 * SHORT_WORDS
# Letters that may stand between an announcement and its number.
GAP = 12

NUMBER_ALONE = regex.compile(rf"\W*?{NUMBER.pattern}\s?%?\W*")
CHOICE_ALONE = regex.compile(r"\W*(?i:option\s+)?\(?[A-Z]\)?\W*")
ARTICLE = regex.compile(r"^(?:the|an?) (?=.)")
HEADING = regex.compile(r"^\p{L}+:\**\s+\**(?=\S)")
AROUND = " .,;:!?\"'`*()[]"


def find_form(response: str) -> Form | None:
    """Return by what a response can be compared with another one; None for a text like any other."""
    text = response.strip()
    if NUMBER_ALONE.fullmatch(text):
        return "number"
    if CHOICE_ALONE.fullmatch(text):
        return "choice"
    if announces_number(text):
        return "final"
    if "\n" not in text and len(text) <= SHORT_LETTERS and len(text.split()) <= SHORT_WORDS:
        return "short"
    return None


def announces_number(text: str) -> bool:
    """Return whether a number follows the last announcement of an answer at once."""
    announced = list(ANNOUNCED.finditer(text))
    if not announced:
        return False
    end = announced[-1].end()
    found = NUMBER.search(text, end)
    return found is not None and found.start() - end <= GAP


def same_value(form: Form, one: str, other: str) -> bool | None:
    """Return whether two answers have the same value; None if one of them names none.

    A word that announces a short answer ("Sentiment: positive") may be missing from the other one.
    """
    first, second = value_of(form, one), value_of(form, other)
    if first is None or second is None:
        return None
    if form != "short":
        return first == second
    bare_first, bare_second = (HEADING.sub("", str(value)) for value in (first, second))
    return first in (second, bare_second) or second == bare_first


def value_of(form: Form, text: str) -> Fraction | str | None:
    """Return the value that a text names: a number, a letter, or words."""
    if form in ("number", "final"):
        return find_number(text)
    if form == "choice":
        return find_choice(text)
    return _label(text)


def _label(text: str) -> str | None:
    announced = list(ANNOUNCED.finditer(text))
    if announced:
        text = regex.split(r"\n|\.(?:\s|$)", text[announced[-1].end() :].lstrip(" :*\n"))[0]
    text = normalise(text)
    if not text or len(text.split()) > SPOKEN_WORDS:
        return None
    # Signs inside stay: C is not C++. An answer of nothing but signs is compared as it is.
    return ARTICLE.sub("", text.casefold().strip(AROUND)) or text
