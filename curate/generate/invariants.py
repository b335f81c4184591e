r"""Invariants of a translation: what stands in it as it stood in its source, found by rules.

    code, links       ```...```, `ls -l`, https://a.org/x
    placeholders      {x}, {{ x }}, {0:.2f}, %s, %(name)d, <b>, <your name>, [MASK]
    numbers           by value, whatever the language groups and points them with (1,000.5 = 1.000,5)
    options           the letters of "A) ...", "(B) ..."; the letter of an answer that is one
    JSON              the keys, and of a whole text in JSON all but its strings

Ours. Each is to be there as often as before, and nothing of its kind is to be new. A number that one of
both texts writes as a word is seen as lost or new.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import orjson
import regex

from curate.answers.checkers import find_choice
from curate.answers.options import INLINE, OPTION
from curate.answers.values import find_form
from curate.generate.particulars import CODE
from curate.text.localnumbers import unmatched_numbers

PLACEHOLDER = regex.compile(
    r"\{\{[^{}\n]*\}\}|\{[\w.]*(?:\[[^\]\n{}]*\])?(?:![rsa])?(?::[^{}\s\"']{0,20})?\}"
    r"|(?<!\d)%(?:\(\w+\))?[-+0#]*\d*(?:\.\d+)?[sdifgxXeEcr](?!\p{L})"
    r"|</?\p{L}[^<>\n]{0,60}>|\[[A-Z][A-Z0-9_ ]*\]"
)
KEY = regex.compile(r'[{,]\s*"([^"\n]{1,80})"\s*:')
# What ends a sentence stands behind a link and is none of it.
LINK_END = ".,;:!?。，；：！？"


def find_changed_invariant(source: str, translation: str) -> str | None:
    """Return what of a source its translation loses or adds, such as "number: '12' is lost"."""
    for kind, find in FINDERS.items():
        before, after = Counter(find(source)), Counter(find(translation))
        if before != after:
            return describe_change(kind, list(before - after), list(after - before))
    lost, new = unmatched_numbers(source, translation)
    if lost or new:
        return describe_change("number", lost, new)
    if find_form(source) == "choice" and find_choice(source) != find_choice(translation):
        return describe_change("option", [str(find_choice(source))], [])
    return _find_json_change(source, translation)


def describe_change(kind: str, lost: Sequence[str], new: Sequence[str]) -> str:
    """Return what is lost, or else new, in words."""
    piece, state = (min(lost), "lost") if lost else (min(new), "new")
    return f"{kind}: {piece[:60]!r} is {state}"


def _find_code(text: str) -> list[str]:
    pieces = CODE.findall(text)
    return [p.rstrip(LINK_END) if p.startswith("http") else p for p in pieces]


def _find_options(text: str) -> list[str]:
    return [letter for pattern in (OPTION, INLINE) for letter, _ in pattern.findall(text)]


FINDERS: dict[str, Callable[[str], list[str]]] = {
    "code or link": _find_code,
    "placeholder": PLACEHOLDER.findall,
    "option": _find_options,
    "key": KEY.findall,
}


def _find_json_change(source: str, translation: str) -> str | None:
    value = _read_json(source)
    if not isinstance(value, dict | list):
        return None
    other = _read_json(translation)
    if not isinstance(other, dict | list):
        return "JSON: it is none any more"
    same = _without_strings(value) == _without_strings(other)
    return None if same else "JSON: its structure is another one"


def _read_json(text: str) -> Any:
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return None


def _without_strings(value: Any) -> Any:
    """Return a JSON value with empty strings in place of its strings, keys aside."""
    if isinstance(value, dict):
        return {key: _without_strings(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_strings(item) for item in value]
    return "" if isinstance(value, str) else value
