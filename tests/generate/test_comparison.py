"""Comparisons that generators ask for: the order of a pair does not matter, limits leave some open."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.generate.comparison import compare_responses, comparison_calls
from curate.generate.generation import Generation
from curate.llm.compare import AnswerPair, PreferenceScore
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import generation
from tests.generate.scripted import ScriptedEngine

PAIRS = [AnswerPair("Why?", "So.", "Since it rains."), AnswerPair("Who?", "Ann.", "Bob, I hear.")]


def by_seed(call: Call) -> str:
    """Answer by nothing but the seed of the call."""
    drawn = call.server_seed % 3
    if "better" in json.dumps(call.request.schema):
        return json.dumps({"reason": "", "better": ["A", "B", "tie"][drawn]})
    return json.dumps({"answer": "ABC"[drawn]})


def start(style: Any, limits: Limits | None = None) -> tuple[Generation, ScriptedEngine]:
    engine = ScriptedEngine([(lambda call: True, by_seed)])
    run, _ = generation("rewrite", engine, params={"style": style}, limits=limits)
    return run, engine


def compare(pairs: list[AnswerPair], limits: Limits | None = None) -> list[PreferenceScore | None]:
    run, _ = start("style.md", limits)
    return compare_responses(run, "compare", pairs, samples=2, criteria="Be brief.")


@given(st.tuples(*[st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)] * 3))
def test_the_other_way_round_the_confidences_add_up_to_one(texts: tuple[str, str, str]) -> None:
    question, one, other = texts
    (there,) = compare([AnswerPair(question, one, other)])
    (back,) = compare([AnswerPair(question, other, one)])
    assert there is not None and there.confidence is not None
    assert back is not None and back.confidence is not None
    assert there.confidence + back.confidence == pytest.approx(1)


def test_the_bill_and_what_a_limit_leaves_open() -> None:
    run, engine = start("style.md")
    compare_responses(run, "compare", PAIRS, samples=2)
    assert len(engine.calls) == 2 * comparison_calls(2) == 16
    for most, unsent in ((16, 0), (15, 1), (8, 1), (7, 2), (0, 2)):
        preferences = compare(PAIRS, Limits(calls=most))
        assert preferences.count(None) == unsent, most


def test_equal_texts_are_no_comparison() -> None:
    run, engine = start("style.md")
    same = AnswerPair("Why?", "So.", "so. ")
    first, second = compare_responses(run, "compare", [same, PAIRS[0]], samples=1)
    assert first is not None and first.confidence == 0.5
    assert second is not None and len(engine.calls) == comparison_calls(1)
