"""Evol-Instruct: rounds, what each request holds, elimination, what a failed line does next."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.generate.candidates import Candidate, RejectReason, pair
from curate.generate.generation import Generation
from curate.generate.methods.evolve import (
    STOP_WORDS,
    EvolveGenerator,
    drop_useless,
    find_fault,
    rounds_of,
)
from curate.llm.requests import Call
from tests.generate.generations import TARGET, example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import (
    check_hostile,
    check_same,
    keeps_some,
    quoted,
    short_tasks,
    stage_calls,
    words,
)

EVOLVE, JUDGE, ANSWER = "You write tasks.", "You compare tasks.", "You answer helpfully"
EQUAL = json.dumps({"difference": "none", "equal": True})
DIFFERENT = json.dumps({"difference": "a condition", "equal": False})


def evolved(call: Call) -> str:
    return json.dumps({"prompt": f"{quoted(call)} Mind {words(call, 12)}."})


def shouted(call: Call) -> str:
    return json.dumps({"prompt": quoted(call).upper()})


def script(**changed: Any) -> ScriptedEngine:
    rules = {
        EVOLVE: changed.get("evolve", evolved),
        JUDGE: changed.get("judge", DIFFERENT),
        "": changed.get("answer", lambda call: f"It is {words(call, 8)}."),
    }
    return ScriptedEngine(list(rules.items()))


def evolve(engine: Any, count: int = 3, **params: Any) -> Generation:
    return generate("evolve", engine, target=examples(TARGET[:count]), params=params)


def test_each_round_goes_on_from_what_was_kept_and_all_generations_are_rows() -> None:
    engine = script()
    run = evolve(engine, rounds=3)
    assert reject_reasons(run.candidates) == [None] * 9
    assert engine.batches == [3] * 9
    assert Counter(c.hop for c in run.kept) == {1: 3, 2: 3, 3: 3}
    by_id = {e.row_id: e.prompt for e in run.target} | {c.row_id: c.prompt for c in run.kept}
    for candidate in run.kept:
        (parent,) = candidate.parents
        assert candidate.prompt.startswith(f"{by_id[parent]} Mind ")
        assert candidate.notes["growth"] == 13
    generator = EvolveGenerator(rounds=3)
    assert generator.cost(3, 0).calls == 27
    assert EvolveGenerator(rounds=3, judge=False).cost(3, 0).calls == 18
    table = run.tables["rounds"]
    assert table["tried"].sum() == table["kept"].sum() == 9
    assert set(table["growth"]) == {13.0}


def test_the_ways_are_drawn_and_asked_for() -> None:
    asks = {
        "constraint": "Add one condition",
        "deepen": "ask deeper",
        "concrete": "something particular",
        "reasoning": "several steps of thought",
        "breadth": "another task from the same field",
    }
    engine = script()
    run = evolve(engine, rounds=6)
    operators = [c.notes["operator"] for c in run.candidates]
    assert len(set(operators)) >= 4
    for call, operator in zip(stage_calls(engine, EVOLVE), operators, strict=True):
        assert [name for name, piece in asks.items() if piece in text_of(call)] == [operator]
        assert ("10 to 20 words more" in text_of(call)) == (operator != "breadth")
    # The same seed draws the same ways, and a weight of 0 none of its kind.
    assert [c.notes["operator"] for c in evolve(script(), rounds=6).candidates] == operators
    depth = {"constraint": 0, "breadth": 2.5}
    run = evolve(script(), rounds=3, weights=depth)
    assert {c.notes["operator"] for c in run.candidates} == {"breadth"}
    with pytest.raises(ValidationError, match="at least one is above 0"):
        EvolveGenerator(weights={"breadth": 0})


def test_what_failed_tries_again_from_its_parent() -> None:
    def evolve_later(call: Call) -> str:
        text = quoted(call)
        first = text == TARGET[0][0] and call.sampling.seed in first_round
        return json.dumps({"prompt": text}) if first else evolved(call)

    probe = script()
    evolve(probe, rounds=1)
    first_round = {call.sampling.seed for call in stage_calls(probe, EVOLVE)}
    engine = script(evolve=evolve_later)
    run = evolve(engine, rounds=3)
    lines = [c for c in run.candidates if c.notes["seed"] == "target/1"]
    assert reject_reasons(lines) == ["not_evolved", None, None]
    assert [c.hop for c in lines] == [1, 1, 2]
    assert [c.parents for c in lines] == [("target/1",), ("target/1",), (lines[1].row_id,)]
    # An echo is neither judged nor answered.
    assert engine.batches == [3, 2, 2, 3, 3, 3, 3, 3, 3]


@pytest.mark.parametrize(
    ("changed", "reject_reason", "detail"),
    [
        ({"evolve": shouted}, RejectReason.NOT_EVOLVED, "no word"),
        ({"judge": EQUAL}, RejectReason.NOT_EVOLVED, "judged equal: none"),
        ({"evolve": json.dumps({"prompt": "The rewritten prompt."})},
     RejectReason.PROMPT_LEAK, "rewritten"),
        ({"evolve": lambda call: json.dumps({"prompt": words(call, 50)})},
     RejectReason.TOO_LONG, "words more"),
        ({"evolve": json.dumps({"prompt": "  "})}, RejectReason.EMPTY, "prompt"),
        ({"evolve": json.dumps({"prompt": "y" * 288})}, RejectReason.TRUNCATED, "the most"),
        ({"evolve": Reply(finish="failed", error="gone")}, RejectReason.FAILED, "gone"),
        ({"judge": Reply("no JSON")}, RejectReason.INVALID, "JSON"),
        ({"answer": Reply("It is", "truncated")}, RejectReason.TRUNCATED, "cut"),
        ({"answer": "So sad, and sorry for that."}, RejectReason.REFUSED, "sorry"),
        ({"answer": "It is, and so he was of this!"}, RejectReason.NO_ANSWER, "stop words"),
        ({"answer": "I cannot help."}, RejectReason.REFUSED, "I cannot"),
        ({"answer": "... !"}, RejectReason.NO_ANSWER, "stop words"),
    ],
)  # fmt: skip
def test_flaws(changed: dict[str, Any], reject_reason: RejectReason, detail: str) -> None:
    run = evolve(script(**changed), count=1, rounds=2, max_tokens=128)
    assert reject_reasons(run.candidates) == [reject_reason.value] * 2
    assert detail in run.candidates[0].detail
    assert {c.parents for c in run.candidates} == {("target/1",)}
    assert run.tables["rounds"]["kept"].sum() == 0


def response(text: str) -> Candidate:
    return drop_useless(Candidate(pair("Why?", text), "evolve"))


def test_an_apology_goes_below_80_words() -> None:
    for count, reject_reason in ((79, RejectReason.REFUSED), (80, None), (81, None)):
        text = " ".join(["Now", "sorry", *(f"w{i}" for i in range(count - 2))])
        assert response(text).reject_reason is reject_reason
    assert response("A sorryful river.").reject_reason is None
    assert "you" in STOP_WORDS


def test_a_mark_that_the_parent_has_is_its_subject() -> None:
    evolved = "Write a harder task list of ten lines."
    assert find_fault("Write a list.", evolved, 20) == (
        RejectReason.PROMPT_LEAK,
        "prompt: harder task",
    )
    assert find_fault("Write a harder task list.", evolved, 20) is None


def test_growth_is_measured_in_words() -> None:
    long = " ".join(f"w{i}" for i in range(41))
    assert find_fault("", long, 20) == (RejectReason.TOO_LONG, "41 words more than its parent")
    assert find_fault("w", long, 20) is None
    assert find_fault("天", "天地" * 21, 20) == (
        RejectReason.TOO_LONG,
        "41 words more than its parent",
    )
    # Nothing but words of the parent: shorter, or in another order.
    assert find_fault("a b c", "C b", 20)
    # A word more often than in the parent is one more.
    assert find_fault("a b c", "a b b c", 20) is None


def test_no_judge_no_judgement() -> None:
    engine = script()
    assert len(evolve(engine, rounds=2, judge=False).kept) == 6
    assert not stage_calls(engine, JUDGE)
    assert len(engine.calls) == 12


def test_the_system_turn_stays() -> None:
    engine = script()
    target = [example("target/1", "Which river is long?", "The Nile.", "Be brief.")]
    run = generate("evolve", engine, target=target, params={"rounds": 2})
    assert {c.messages[0]["content"] for c in run.kept} == {"Be brief."}
    assert len(stage_calls(engine, "Be brief.")) == 2
    assert not stage_calls(engine, ANSWER)


def test_the_table_of_rounds_of_nothing() -> None:
    assert rounds_of([]).height == 0


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("evolve", script, tmp_path, params={"rounds": 2})
    check_hostile("evolve", script, params={"rounds": 2})


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    keeps_some(
        "evolve",
        smollm,
        target=short_tasks()[:4],
        params={"rounds": 1, "judge": False, "max_tokens": 64, "temperature": 0.5},
    )
