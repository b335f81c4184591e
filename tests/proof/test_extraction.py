"""Answers found in generated texts: right, announced, or no match."""

from __future__ import annotations

import pytest

from curate.proof.extraction import Extraction, Kind

OPTIONS = "Which is a river?\nA) Rhine\nB) Alps"


@pytest.mark.parametrize(
    ("kind", "reference", "text", "right", "matched"),
    [
        ("number", "5 + 2 = 7\n#### 7", "So there are 7 of them.", True, True),
        ("number", "#### 1,200", "The answer is $1200.00", True, True),
        ("number", "#### 7", "The answer is 8.", False, True),
        ("number", "#### 7", "I cannot say.", False, False),
        ("math", r"\boxed{\frac{3}{4}}", "The answer is $0.75$.", True, True),
        ("exact", "Yes.", " yes", True, True),
        ("exact", "Yes.", "Yes, sure", False, True),
        ("json", 'Here: {"a": 1, "b": [2]}', '```json\n{"b": [2], "a": 1.0}\n```', True, True),
        ("json", '{"a": 1}', '{"a": 2}', False, True),
        ("json", '{"a": 1}', "a is 1", False, False),
        ("choice", "(A)", "The answer is A.", True, True),
        ("choice", "Rhine", "A", True, True),
        ("choice", "A", "rhine.", True, True),
        ("choice", "A", "B) Alps", False, True),
        ("choice", "A", "It flows.", False, False),
    ],
)
def test_answers_are_compared_by_value(
    kind: Kind, reference: str, text: str, right: bool, matched: bool
) -> None:
    extraction = Extraction(kind)
    gold = extraction.find_gold(OPTIONS, reference)
    assert gold is not None
    checked = extraction.check(OPTIONS, text, gold)
    assert (checked.right, checked.matched) == (right, matched)


@pytest.mark.parametrize(
    ("kind", "reference"),
    [("number", "none at all"), ("choice", "It flows."), ("json", "a is 1"), ("regex", "no day")],
)
def test_a_reference_without_an_answer_is_no_gold(kind: Kind, reference: str) -> None:
    assert Extraction(kind, r"day=(\w+)").find_gold(OPTIONS, reference) is None


def test_a_right_number_counts_as_announced_only_behind_an_announcement() -> None:
    extraction = Extraction("number")
    texts = ["#### 7", "The answer is 7.", "So 7.", "#### 8"]
    checked = [extraction.check("", text, "#### 7") for text in texts]
    assert [c.announced for c in checked] == [True, True, False, False]
    assert [c.right for c in checked] == [True, True, True, False]


def test_of_a_pattern_the_last_match_counts_and_its_first_group() -> None:
    grouped, whole = Extraction("regex", r"day=(\w+)"), Extraction("regex", r"day=\w+")
    text = "day=mon; no, day=Fri; time=9"
    assert grouped.find_gold("", text) == "Fri"
    assert whole.find_gold("", text) == "day=Fri"
    assert grouped.check("", text, "fri").right
    assert not grouped.check("", "day=mon", "fri").right
    assert not grouped.check("", "friday", "fri").matched


def test_a_pattern_that_does_not_end_is_no_match(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.proof.extraction.TIMEOUT", 0.05)
    assert Extraction("regex", r"(a|aa|a?)+$").find_gold("", "a" * 60 + "b") is None
