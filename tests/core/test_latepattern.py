"""Patterns that are compiled late match what those do that are compiled at once."""

from __future__ import annotations

import pickle

import pytest
import regex

import curate.answers.quantities as quantities
import curate.core.keyforms as keyforms
import curate.llm.reasoning as reasoning
from curate.core.latepattern import LatePattern, late_pattern


def test_it_is_compiled_by_the_first_use_and_once(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[str] = []
    compile_now = regex.compile

    def count(text: str, flags: int) -> regex.Pattern[str]:
        compiled.append(text)
        return compile_now(text, flags)

    monkeypatch.setattr(regex, "compile", count)
    pattern = late_pattern("(?P<word>A+)b", regex.I)
    assert compiled == []
    match = pattern.search("xaaB")
    assert match is not None
    assert (match["word"], pattern.groupindex) == ("aa", {"word": 1})
    assert [m.span() for m in pattern.finditer("ab ab")] == [(0, 2), (3, 5)]
    assert pattern.sub("-", "ab") == "-"
    assert compiled == ["(?P<word>A+)b"]
    again = pickle.loads(pickle.dumps(late_pattern("a")))
    assert again.fullmatch("a") is not None


def test_a_name_that_no_pattern_has_is_an_error() -> None:
    with pytest.raises(AttributeError):
        _ = late_pattern("a").none_of_this_name  # type: ignore[attr-defined]


def test_every_pattern_of_these_modules_can_be_compiled() -> None:
    """Their mistakes were seen at import; now nothing else would compile all of them."""
    forms = [form.pattern for form in keyforms.KEY_FORMS]
    modules = (reasoning, keyforms, quantities)
    values = [value for module in modules for value in vars(module).values()]
    values += [*reasoning.BLOCKS, *reasoning.AROUND, *forms]
    patterns = [value for value in values if isinstance(value, LatePattern)]
    assert len(patterns) > 30
    assert all(regex.compile(pattern.pattern, pattern.flags) for pattern in patterns)
