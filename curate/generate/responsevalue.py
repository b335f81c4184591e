"""What a response says that no rewrite of it may change: its answer by a checker, else what rules find.

    "12", "(B)", "positive", "... #### 72"    by value, as far as curate.answers.values reads one
    '{"city": "Ulm"}'                         by its JSON
    any other text                            its numbers, names, options, code and links are all in the
                                              rewrite, and where it denies something that does too

Ours. A rewrite may hold more than its source: of an open text the rules see what is lost or changed,
never what is added. Names and negations are found as `paraphrase` does it, in English words.
"""

from typing import Literal

import orjson

from curate.answers.checkers import AnswerVerdict, check_answer
from curate.answers.options import OPTION
from curate.answers.values import Form, find_form, same_value
from curate.generate.candidates import RejectReason
from curate.generate.particulars import CODE, NEGATION, count_names
from curate.generate.sift import numbers_of

Checker = Literal["auto", "numeric", "math", "choice"]
ValueForm = Form | Literal["json"]
Rejection = tuple[RejectReason, str]


def find_value_form(response: str, checker: Checker) -> ValueForm | None:
    """Return by what the answer of a response is compared; None for a text without a checkable one."""
    return "json" if _is_json(response) else find_form(response, checker)


def _is_json(text: str) -> bool:
    try:
        return isinstance(orjson.loads(text), dict | list)
    except orjson.JSONDecodeError:
        return False


def find_value_change(response: str, rewrite: str, form: ValueForm | None) -> Rejection | None:
    """Return what of a response its rewrite changes, None if nothing is seen of it."""
    lost = next((code for code in CODE.findall(response) if code not in rewrite), None)
    if lost is not None:
        return RejectReason.MEANING_CHANGED, f"code or link: {lost[:60]!r} is lost"
    if form is None:
        return _find_loss(response, rewrite)
    same = _same_json(response, rewrite) if form == "json" else same_value(form, response, rewrite)
    if same is None:
        return RejectReason.NO_ANSWER, f"nothing to compare with {response.strip()[-60:]!r}"
    if same:
        return None
    return RejectReason.WRONG_ANSWER, f"its answer is not that of {response.strip()[-60:]!r}"


def _same_json(response: str, rewrite: str) -> bool | None:
    verdict = check_answer("json", rewrite, response)
    return None if verdict is AnswerVerdict.UNPARSABLE else verdict is AnswerVerdict.CORRECT


def _find_loss(response: str, rewrite: str) -> Rejection | None:
    names = count_names(response, rewrite)
    parts = {
        "number": (set(numbers_of(response)), set(numbers_of(rewrite))),
        "name": (set(names[0]), set(names[1])),
        "option": ({key for key, _ in OPTION.findall(response)},
                   {key for key, _ in OPTION.findall(rewrite)}),
    }  # fmt: skip
    for kind, (before, after) in parts.items():
        if before - after:
            return RejectReason.MEANING_CHANGED, f"{kind}: {min(before - after)[:60]!r} is lost"
    if NEGATION.search(response) and not NEGATION.search(rewrite):
        return RejectReason.MEANING_CHANGED, "it denies nothing any more"
    return None
