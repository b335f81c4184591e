"""Comparisons in both orders: the confidence by hand, places that do not count, what has none."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from curate.llm.ask import EngineClient
from curate.llm.compare import AnswerPair, PreferenceScore, compare_pairs, compare_prompts
from tests.generate.scripted import Reply, ScriptedEngine, text_of

GOOD, BAD = "a good response", "a bad response"
PAIR = AnswerPair("What is asked?", BAD, GOOD)


def choice(value: str) -> str:
    return json.dumps({"reason": "so it is", "better": value})


def order(call: Any) -> bool:
    """Return whether the good response is shown second."""
    text = text_of(call)
    return text.index(BAD) < text.index(GOOD)


def prefer(
    judge: Callable[[Any], Any],
    reflect: Callable[[Any], str],
    pair: AnswerPair = PAIR,
    samples: int = 5,
) -> tuple[PreferenceScore, ScriptedEngine]:
    def doubt(call: Any) -> str:
        return json.dumps({"answer": reflect(call)})

    rules: list[Any] = [("Which one, A, B or C?", doubt), ("Response A:", judge)]
    engine = ScriptedEngine(rules)
    with EngineClient(engine) as client:
        preferences = compare_pairs(client, [pair], compare_prompts(None), samples=samples, seed=3)
    return preferences[0], engine


def test_a_model_that_knows_is_sure() -> None:
    preference, engine = prefer(
        lambda call: choice("B" if order(call) else "A"), lambda call: "A" if order(call) else "B"
    )
    assert preference.confidence == pytest.approx(1.0)
    assert preference.reason == "so it is"
    assert len(engine.calls) == 2 * (5 + 2)


def test_confidence_by_hand() -> None:
    ahead, behind = ["B", "B", "A", "tie", "B"], ["A", "B", "A", "A", "tie"]

    def judge(call: Any) -> str:
        return choice((ahead if order(call) else behind)[call.sample])

    preference, _ = prefer(judge, lambda call: "C" if order(call) else "B")
    observed = ((3 + 0.5) / 5 + (3 + 0.5) / 5) / 2
    reflected = (0.5 + 1.0) / 2
    assert preference.observed == pytest.approx(observed)
    assert preference.reflected == pytest.approx(reflected)
    assert preference.confidence == pytest.approx(0.7 * observed + 0.3 * reflected)


@pytest.mark.parametrize("place", ["A", "B", "tie"])
@pytest.mark.parametrize("agrees", ["A", "B", "C"])
def test_a_model_with_a_favourite_place_is_undecided(place: str, agrees: str) -> None:
    preference, _ = prefer(lambda call: choice(place), lambda call: agrees)
    assert preference.confidence == pytest.approx(0.5)


def test_the_two_given_the_other_way_round_add_up_to_one() -> None:
    def judge(call: Any) -> str:
        return choice("AB"[call.server_seed % 2])

    def reflect(call: Any) -> str:
        return "ABC"[len(text_of(call)) % 3] if order(call) else "A"

    preference, engine = prefer(judge, reflect)
    back, other = prefer(judge, reflect, AnswerPair(PAIR.question, PAIR.other, PAIR.one))
    assert preference.confidence is not None
    assert back.confidence == pytest.approx(1 - preference.confidence)
    contents = [sorted(map(str, (c.content() for c in e.calls))) for e in (engine, other)]
    assert contents[0] == contents[1]


def test_without_a_judgement_in_both_orders_there_is_no_confidence() -> None:
    preference, _ = prefer(
        lambda call: choice("B") if order(call) else Reply("", "refused"), lambda _: "A"
    )
    assert preference.confidence is None


def test_equal_texts_are_not_asked_about() -> None:
    preference, engine = prefer(
        lambda call: choice("A"), lambda call: "A", AnswerPair("Q?", "Yes. ", "yes.")
    )
    assert preference.confidence == 0.5
    assert not engine.calls
