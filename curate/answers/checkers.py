"""Answer checkers: is a generated answer the known one? Text is compared, never run.

Each takes an answer and the gold answer and returns correct, wrong or unparsable: an answer in which
nothing can be found to compare is not a wrong one, and says something else about a model's yield.

Comparisons are by value and never by substring or prefix, which is how evaluators come to hold that
"nonagon" is false, and none reads 0.5 as 50 %.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, Literal

import orjson
import regex

from curate.answers.arithmetic import false_equation, find_value
from curate.answers.expressions import is_expression, same_expression
from curate.answers.jsonanswers import read_json
from curate.answers.quantities import find_quantity, same_quantity
from curate.answers.spans import announced_range
from curate.core.rows import normalise

TIMEOUT = 1.0


class AnswerVerdict(StrEnum):
    """What a checker says."""

    CORRECT = "correct"
    WRONG = "wrong"
    UNPARSABLE = "unparsable"


CheckerName = Literal["numeric", "math", "arithmetic", "choice", "exact", "json", "regex"]
LETTER = regex.compile(
    r"^\W*(?:(?i:option)\s+)?\(?(?P<alone>[A-Z])\)?[^\w?+#-]*$"  # B, (B), B., option B
    r"|^\W*(?:(?i:option|choice)\s+)?\(?(?P<listed>[A-Z])[).:]\s"  # B) text
    r"|(?:(?<!\b(?:or|and|nor)\s)\b(?i:answer|option|choice)\s*(?:is|:|=)?|\\boxed\s*\{(?:\\text\w*\s*\{)?)"
    r"[\s*_\"'`“‘$]*\(?(?P<named>[A-Z])\)?(?=\W|$)(?!\s+[a-z]|[?+#]|-(?!\s))"
    # A, B and (A) or (B) are no one letter
    r"(?!\)?[*_}]*\s*(?:[,/&]|or\b|and\b|nor\b)\s*(?:(?i:option)\s+)?[(*_]*[A-Z]\b)",
    regex.M,
)


def check_answer(name: CheckerName, answer: str, gold: str) -> AnswerVerdict:
    """Return what the named checker says of an answer; a regex checker's gold is its pattern."""
    return CHECKERS[name](answer, gold)


def is_gold(name: CheckerName, text: str) -> bool:
    """Return whether a text holds what the named checker compares with."""
    if name == "numeric":
        return find_quantity(text) is not None
    if name == "math":
        return is_expression(text)
    if name == "arithmetic":
        return find_value(text) is not None
    if name == "choice":
        return find_choice(text) is not None
    if name == "json":
        try:
            orjson.loads(text)
        except orjson.JSONDecodeError:
            return False
    return bool(text.strip())


def check_numeric(answer: str, gold: str) -> AnswerVerdict:
    """Compare final numbers exactly, and their units where both have one."""
    one, other = find_quantity(gold), find_quantity(answer)
    return _verdict(None if one is None or other is None else same_quantity(one, other))


def check_math(answer: str, gold: str) -> AnswerVerdict:
    """Compare final expressions by their values: numbers exactly, all else by math-verify."""
    return _verdict(same_expression(gold, answer))


def check_arithmetic(answer: str, gold: str) -> AnswerVerdict:
    """Compare final numbers exactly, whatever their units; a false equation on the way is wrong."""
    expected, value = find_value(gold), find_value(answer)
    if expected is None or value is None:
        return AnswerVerdict.UNPARSABLE
    return _verdict(value == expected and false_equation(answer) is None)


def _verdict(same: bool | None) -> AnswerVerdict:
    if same is None:
        return AnswerVerdict.UNPARSABLE
    return AnswerVerdict.CORRECT if same else AnswerVerdict.WRONG


def find_choice(text: str) -> str | None:
    """Return the letter that a text names as its choice; the last one where it names several.

    None where these are a list of options, or stand beside each other, or are taken back.
    """
    place = announced_range(text)
    if place is not None and place[0] == place[1]:
        return None
    letters = [
        (form, letter)
        for match in LETTER.finditer(text)
        for form, letter in match.groupdict().items()
        if letter
    ]
    for form in ("listed", "alone"):
        if len({letter for kind, letter in letters if kind == form}) > 1:
            letters = [(kind, letter) for kind, letter in letters if kind != form]
    return letters[-1][1] if letters else None


def check_choice(answer: str, gold: str) -> AnswerVerdict:
    """Compare the letters of choices."""
    letters = find_choice(gold), find_choice(answer)
    return _verdict(None if None in letters else letters[0] == letters[1])


def check_exact(answer: str, gold: str) -> AnswerVerdict:
    """Compare whole texts, but for white space, case and a full stop at the end."""
    answer_text, gold_text = (normalise(t).casefold().removesuffix(".") for t in (answer, gold))
    if not answer_text:
        return AnswerVerdict.UNPARSABLE
    return AnswerVerdict.CORRECT if answer_text == gold_text else AnswerVerdict.WRONG


def check_json(answer: str, gold: str) -> AnswerVerdict:
    """Compare JSON values: order of keys is free, order of items is not, 1 equals 1.0 but not true."""
    try:
        answer_json = read_json(answer)
    except orjson.JSONDecodeError:
        return AnswerVerdict.UNPARSABLE
    try:
        return (
            AnswerVerdict.CORRECT if _same(answer_json, orjson.loads(gold)) else AnswerVerdict.WRONG
        )
    except RecursionError:
        return AnswerVerdict.UNPARSABLE


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_same(v, other[k]) for k, v in one.items())
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def check_regex(answer: str, gold: str) -> AnswerVerdict:
    """Match the whole answer, without the white space around it, against the pattern.

    What takes longer than a second, or is no pattern, is unparsable.
    """
    try:
        match = regex.fullmatch(gold, answer.strip(), timeout=TIMEOUT)
    except (TimeoutError, regex.error):
        return AnswerVerdict.UNPARSABLE
    return AnswerVerdict.CORRECT if match else AnswerVerdict.WRONG


CHECKERS: dict[CheckerName, Callable[[str, str], AnswerVerdict]] = {
    "numeric": check_numeric,
    "math": check_math,
    "arithmetic": check_arithmetic,
    "choice": check_choice,
    "exact": check_exact,
    "json": check_json,
    "regex": check_regex,
}
