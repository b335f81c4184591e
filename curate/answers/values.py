"""Short answers and final values: what can be compared by value, without comparing texts.

    "42", "12 hours"                 number     42 = 42.0 = $42; number words are not read
    "(B)"                            choice     its letter
    "6 February 2029", "positive"    short      itself, but for case, marks around it, an article,
                                                a word and a colon before it in one of the two
    "48/2 = 24 ... #### 72"          final      the final number of a longer text

These are what a response is by itself (checker: auto). Where a recipe names a checker, all responses
that it can read have its form: number, math (curate.answers.expressions), choice or exact.

By whole values and never by substring: "nonagon" does not hold "no". Where an answer to a question with
such a value names none, or one that measures something else, nothing can be said by value (None): such
an answer is not comparable, which is neither right nor wrong.
"""

import logging
from collections.abc import Sequence
from typing import Literal

import regex

from curate.answers.checkers import AnswerVerdict, CheckerName, check_answer, is_gold
from curate.answers.location import SHORT_WORDS, is_short
from curate.answers.quantities import find_quantity, read_quantity
from curate.answers.spans import announced_span
from curate.core.rows import normalise

LOG = logging.getLogger("curate")
Check = Literal["auto", "numeric", "math", "choice", "exact"]
CHECKED_HOW = "how answers are compared; auto: by what the response is"
Form = Literal["number", "choice", "short", "final", "math", "exact"]
BY_CHECKER: dict[CheckerName, Form] = {
    "numeric": "number", "math": "math", "choice": "choice", "exact": "exact"
}  # fmt: skip
CHECKERS: dict[Form, CheckerName] = {form: name for name, form in BY_CHECKER.items()} | {
    "final": "numeric"
}
# An answer in a short sentence may have a few words more than the value.
SPOKEN_WORDS = 2 * SHORT_WORDS
# A longer response is not compared word by word.
EXACT_LETTERS = 200
CHOICE_ALONE = regex.compile(r"\W*(?i:option\s+)?\(?[A-Z]\)?\W*")
ARTICLE = regex.compile(r"^(?:the|an?) (?=.)")
HEADING = regex.compile(r"^\p{L}+:\**\s+\**(?=\S)")
AROUND = " .,;:!?\"'`*()[]"


def find_form(response: str, check: Check = "auto") -> Form | None:
    """Return by what a response can be compared with another one; None for a text like any other."""
    text = response.strip()
    if check != "auto":
        readable = is_gold(check, text) and (check != "exact" or len(text) <= EXACT_LETTERS)
        return BY_CHECKER[check] if readable else None
    announced = announced_span(text)
    if announced is not None and find_quantity(text) is not None:
        return "final"
    if read_quantity(text) is not None:
        return "number"
    if CHOICE_ALONE.fullmatch(text):
        return "choice"
    if is_short(text):
        return "short"
    return None


def same_value(form: Form, gold: str, answer: str) -> bool | None:
    """Return whether an answer has the value of the gold one; None if they are not comparable.

    A word that announces a short answer ("Sentiment: positive") may be missing from the other one.
    """
    if form != "short":
        checked = check_answer(CHECKERS[form], answer, gold)
        return None if checked is AnswerVerdict.UNPARSABLE else checked is AnswerVerdict.CORRECT
    first, second = _label(gold), _label(answer)
    if first is None or second is None:
        return None
    bare_first, bare_second = (HEADING.sub("", value) for value in (first, second))
    return first in (second, bare_second) or second == bare_first


def same_answer(check: Check, one: str, other: str) -> bool | None:
    """Return whether two responses answer the same; None if they are not comparable.

    Where no checker is named, worked answers with one final number differ by their words.
    """
    form = find_form(one, check)
    if form is None or (form == "final" and check == "auto"):
        return _same_words(one, other)
    return True if _same_words(one, other) else same_value(form, one, other)


def warn_not_comparable(stage: str, count: int, answers: int) -> None:
    """Tell of answers that are neither right nor wrong."""
    if count:
        LOG.warning(
            "%s: %s of %s answers name nothing comparable: they count as neither right nor wrong",
            stage, f"{count:,}", f"{answers:,}",
        )  # fmt: skip


def group_alike(form: Form | None, texts: Sequence[str]) -> list[int]:
    """Return the group of each text, numbered from 0: texts of one value, or of the same words."""
    firsts: list[str] = []
    groups = []
    for text in texts:
        place = next((i for i, first in enumerate(firsts) if _alike(form, first, text)), None)
        if place is None:
            place = len(firsts)
            firsts.append(text)
        groups.append(place)
    return groups


def _alike(form: Form | None, one: str, other: str) -> bool:
    same = None if form is None else same_value(form, one, other)
    return _same_words(one, other) if same is None else same


def _same_words(one: str, other: str) -> bool:
    return normalise(one).casefold() == normalise(other).casefold()


def _label(text: str) -> str | None:
    announced = announced_span(text)
    text = normalise(text if announced is None else announced)
    if not text or len(text.split()) > SPOKEN_WORDS:
        return None
    # Signs inside stay: C is not C++. An answer of nothing but signs is compared as it is.
    return ARTICLE.sub("", text.casefold().strip(AROUND)) or text
