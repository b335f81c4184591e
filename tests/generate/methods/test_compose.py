"""Chains and sequential instructions: kinds, dependence, the judge, chains of three, rounds."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.compose import KINDS, OPTIONS, TAKES, ComposeGenerator
from curate.llm.requests import Call
from tests.generate.generations import TARGET, example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of, texts_of
from tests.generate.stages import (
    check_hostile,
    check_same,
    keeps_some,
    quoted,
    short_tasks,
    stage_calls,
    words,
)

DESCRIBE, STEP, JUDGE = "You describe tasks.", "You solve tasks.", "You check tasks"
CHOOSE, EXTEND = "You plan tasks", "You write tasks of several steps"
GOOD = {"finding": "All is well.", "answerable": True, "builds": True, "correct": True}
# What each target row takes and gives.
RIVER, TIDES, BEES = (prompt for prompt, _ in TARGET)
ALL_TEXT = dict.fromkeys((RIVER, TIDES, BEES), ("text", "text"))


def describing(kinds: Mapping[str, tuple[str, str]]) -> Any:
    def reply(call: Call) -> str:
        prompt = next((p for p in kinds if p in text_of(call)), "")
        takes, gives = kinds.get(prompt, ("text", "text"))
        return json.dumps({"task": f"do {prompt[:9]}.", "takes": takes, "gives": gives})

    return reply


def step(call: Call) -> str:
    """Do a step: what comes out hangs on the material and the task."""
    task = text_of(call).split("\n")[0]
    return json.dumps({"possible": True, "output": f"Done {task} with {quoted(call)[:40]}"})


def shouted(call: Call) -> str:
    return json.dumps({"possible": True, "output": quoted(call).upper()})


def judgement(**changed: bool) -> Any:
    def reply(call: Call) -> str:
        properties = answer_schema(call)["properties"]
        return json.dumps({name: ({**GOOD, **changed})[name] for name in properties})

    return reply


def choosing(option: str) -> str:
    return json.dumps({"reason": "It can.", "option": option})


def extended(call: Call) -> str:
    added = f"list {words(call, 4)}"
    return json.dumps({"added": added, "prompt": f"{quoted(call)} Then {added}."})


def script(**changed: Any) -> ScriptedEngine:
    return ScriptedEngine(
        [
            (DESCRIBE, changed.get("describe", describing(ALL_TEXT))),
            (STEP, changed.get("step", step)),
            (JUDGE, changed.get("judge", judgement())),
            (CHOOSE, changed.get("choose", choosing("suffix"))),
            (EXTEND, changed.get("extend", extended)),
            ("", changed.get("answer", lambda call: f"It is {words(call, 8)}.")),
        ]
    )


def compose(engine: Any, **params: Any) -> Generation:
    target = params.pop("target", examples())
    return generate("compose", engine, target=target, params=params)


def test_every_pair_that_fits_is_a_chain_with_both_results() -> None:
    engine = script()
    run = compose(engine)
    assert reject_reasons(run.candidates) == [None] * 6
    # Descriptions, steps, the same with other material, judgements.
    assert engine.batches == [3, 6, 6, 6]
    by_id = {e.row_id: e for e in run.target}
    assert len({c.parents for c in run.candidates}) == 6
    for candidate in run.kept:
        x, y = (by_id[row_id] for row_id in candidate.parents)
        (done,) = candidate.notes["steps"]
        assert done["task"] == f"do {y.prompt[:9].strip()}"
        assert candidate.prompt == f"{x.prompt}\n\nAnd then, with what you have: {done['task']}."
        assert candidate.response == f"1. {x.response}\n2. {done['output']}"
        assert candidate.hop == 1
    generator = ComposeGenerator()
    assert generator.cost(3, 0).calls == len(engine.calls) == 21


def test_the_first_solution_is_the_material_and_another_one_in_the_test() -> None:
    engine = script()
    run = compose(engine)
    steps = stage_calls(engine, STEP)
    by_id = {e.row_id: e for e in run.target}
    for call, other, candidate in zip(steps[:6], steps[6:], run.candidates, strict=True):
        x, y = (by_id[row_id] for row_id in candidate.parents)
        assert quoted(call) == x.response
        assert quoted(other) not in (x.response, y.response)
        assert quoted(other) in {e.response for e in run.target}


def test_kinds_must_fit_and_a_label_comes_last() -> None:
    kinds = {RIVER: ("text", "label"), TIDES: ("nothing", "text"), BEES: ("number", "number")}
    engine = script(describe=describing(kinds))
    run = compose(engine)
    # Nothing takes the label, the tides take nothing, and only the river takes a text.
    assert [c.parents for c in run.candidates] == [("target/2", "target/1")]
    assert not any("label" in taken for taken in TAKES.values())
    assert set(TAKES) == set(KINDS)


def test_what_ignores_the_first_step_is_no_chain() -> None:
    def deaf(call: Call) -> str:
        same = "do How long" in text_of(call)
        return json.dumps({"possible": True, "output": "Always this."}) if same else step(call)

    engine = script(step=deaf)
    run = compose(engine)
    dropped = [c for c in run.candidates if c.reject_reason]
    assert {c.parents[1] for c in dropped} == {"target/3"}
    assert {c.reject_reason for c in dropped} == {"not_composable"}
    assert len(dropped) == 2
    # What is no chain is not judged.
    assert len(stage_calls(engine, JUDGE)) == 4
    # A step that cannot be done with other material hangs on its material.
    run = compose(script(step=[*[step] * 6, '{"possible": false, "output": ""}']))
    assert len(run.kept) == 6


@pytest.mark.parametrize(
    ("changed", "reject_reason", "detail"),
    [
        ({"step": '{"possible": false, "output": "No."}'}, RejectReason.NOT_COMPOSABLE, "impossible"),
        ({"step": '{"possible": true, "output": " "}'}, RejectReason.EMPTY, "output"),
        ({"step": shouted}, RejectReason.NOT_COMPOSABLE, "repeats"),
        ({"step": json.dumps({"possible": True, "output": "x" * 288})},
     RejectReason.TRUNCATED, "the most"),
        ({"step": Reply(finish="failed", error="gone")}, RejectReason.FAILED, "gone"),
        ({"judge": judgement(answerable=False)}, RejectReason.NOT_COMPOSABLE, "not answerable: All"),
        ({"judge": judgement(builds=False)}, RejectReason.NOT_COMPOSABLE, "not builds"),
        ({"judge": judgement(correct=False)}, RejectReason.WRONG_ANSWER, "not correct"),
        ({"judge": "true"}, RejectReason.INVALID, "is not of type"),
    ],
)  # fmt: skip
def test_flaws(changed: dict[str, Any], reject_reason: RejectReason, detail: str) -> None:
    run = compose(script(**changed), max_tokens=128)
    assert reject_reasons(run.candidates) == [reject_reason.value] * 6
    assert detail in run.candidates[0].detail


def test_a_row_that_is_not_described_is_in_no_chain() -> None:
    engine = script(describe=[describing(ALL_TEXT), Reply(finish="refused"), describing(ALL_TEXT)])
    run = compose(engine)
    assert [(c.reject_reason, c.parents) for c in run.candidates[:1]] == [
        ("refused", ("target/2",))
    ]
    assert {c.parents for c in run.kept} == {("target/1", "target/3"), ("target/3", "target/1")}


def test_chains_of_three_are_made_of_two_that_are_valid_and_overlap() -> None:
    engine = script()
    # Embedded by their words, chains of the same steps in another order are near.
    run = compose(engine, length=3, filters={"cosine": 1})
    assert Counter(c.hop for c in run.kept) == {1: 6, 2: 6}
    by_id = {c.row_id: c for c in run.kept}
    for candidate in run.kept[6:]:
        one, two = (by_id[row_id] for row_id in candidate.parents)
        x, y, z = candidate.notes["rows"]
        assert (one.notes["rows"], two.notes["rows"]) == ([x, y], [y, z])
        assert len({x, y, z}) == 3
        assert candidate.notes["steps"][:1] == one.notes["steps"]
        assert candidate.response.count("\n") == 2
        assert "\n3. " in candidate.response
    # What the last step worked on is what the one before it gave.
    for call, candidate in zip(stage_calls(engine, STEP)[12:], run.kept[6:], strict=True):
        assert quoted(call) == candidate.notes["steps"][0]["output"]
    assert engine.batches == [3, 6, 6, 6, 6, 6]
    assert ComposeGenerator(length=3).cost(3, 0).calls >= 33

    def no_river(call: Call) -> str:
        fine = not text_of(call).split('"""\n')[1].startswith(RIVER)
        return json.dumps({**GOOD, "answerable": fine})

    run = compose(script(judge=no_river), length=3)
    assert {c.notes["rows"][0] for c in run.candidates if c.hop == 2} == {"target/2", "target/3"}
    assert all(c.notes["rows"][1] != "target/1" for c in run.candidates if c.hop == 2)


def test_few_chains_are_spread_over_the_rows() -> None:
    many = examples([(f"What is {name}?", f"It is {name}{name}.") for name in "abcdefgh"])
    run = compose(script(), target=many, chains=8, judge=False)
    assert {c.parents[0] for c in run.candidates} == {e.row_id for e in many}
    run = compose(script(), target=many, partners=2, judge=False)
    assert set(Counter(c.parents[0] for c in run.candidates).values()) == {2}


def test_the_system_turn_of_the_first_row_stays() -> None:
    target = [example("target/1", RIVER, "The Rhine.", "Be brief."), examples()[1]]
    run = compose(script(), target=target)
    roles = {c.parents[0]: [m["role"] for m in c.messages] for c in run.kept}
    assert roles["target/1"] == ["system", "user", "assistant"]
    assert roles["target/2"] == ["user", "assistant"]


def sequential(engine: Any, **params: Any) -> Generation:
    return compose(engine, kind="sequential", **params)


def test_sequential_rounds() -> None:
    engine = script()
    run = sequential(engine, rounds=2)
    assert reject_reasons(run.candidates) == [None] * 6
    assert Counter(c.hop for c in run.candidates) == {1: 3, 2: 3}
    assert engine.batches == [3] * 8
    assert [c.parents[0] for c in run.candidates[3:]] == [c.row_id for c in run.candidates[:3]]
    for candidate in run.candidates:
        assert candidate.prompt.endswith(f"Then {candidate.notes['added']}.")
        assert candidate.notes["option"] == "suffix"
    generator = ComposeGenerator(kind="sequential", rounds=2)
    assert generator.cost(3, 0).calls == 24


@pytest.mark.parametrize("max_tokens", [64, 72, 80])
def test_the_fewest_tokens_leave_room_for_a_prompt_behind_its_step(max_tokens: int) -> None:
    run = sequential(script(), rounds=1, max_tokens=max_tokens)
    assert reject_reasons(run.candidates) == [None] * 3


def test_what_is_kept_as_it_is_costs_no_further_call() -> None:
    def some(call: Call) -> Any:
        if RIVER in text_of(call):
            return choosing("keep")
        unread = any(TIDES in text for text in texts_of(call))
        return "Way A) it is." if unread else choosing("prefix")

    engine = script(choose=some)
    run = sequential(engine, rounds=2)
    # The bees alone go on; what cannot be read is tried anew twice and then dropped.
    assert reject_reasons(run.candidates) == ["invalid", None, None]
    assert [c.parents[0] for c in run.candidates] == [
        "target/2",
        "target/3",
        run.candidates[1].row_id,
    ]
    assert len(stage_calls(engine, EXTEND)) == 2
    assert engine.batches == [3, 1, 1, 1, 1, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("option", OPTIONS[:-1])
def test_each_way_is_asked_for(option: str) -> None:
    engine = script(choose=choosing(option))
    sequential(engine, rounds=1)
    pieces = {"decompose": "Split it", "prefix": "Put a step before", "suffix": "Put a step after"}
    for call in stage_calls(engine, EXTEND):
        assert [name for name, piece in pieces.items() if piece in text_of(call)] == [option]


def test_the_ways_are_named_in_an_order_that_is_drawn() -> None:
    engine = script()
    many = examples([(f"What is {name}?", f"It is {name}.") for name in "abcdefgh"])
    sequential(engine, target=many, rounds=1)
    orders = {text_of(call).rsplit("one of ", 1)[1] for call in stage_calls(engine, CHOOSE)}
    assert len(orders) > 3
    assert {tuple(sorted(order.rstrip("}").split(", "))) for order in orders} == {
        tuple(sorted(OPTIONS))
    }


@pytest.mark.parametrize(
    ("changed", "reject_reason"),
    [
        ({"extend": json.dumps({"added": "Carefully read", "prompt": "Go."})}, RejectReason.NOT_EVOLVED),
        ({"extend": lambda c: json.dumps({"added": "list it", "prompt": quoted(c)})},
     RejectReason.NOT_EVOLVED),
        ({"extend": json.dumps({"added": "list it", "prompt": " "})}, RejectReason.EMPTY),
        ({"extend": Reply(finish="repetition")}, RejectReason.REPEATS_ITSELF),
        ({"answer": Reply("It", "truncated")}, RejectReason.TRUNCATED),
        ({"judge": judgement(correct=False)}, RejectReason.WRONG_ANSWER),
        ({"judge": judgement(answerable=False)}, RejectReason.NOT_COMPOSABLE),
    ],
)  # fmt: skip
def test_sequential_flaws(changed: dict[str, Any], reject_reason: RejectReason) -> None:
    run = sequential(script(**changed), rounds=2)
    assert reject_reasons(run.candidates) == [reject_reason.value] * 3


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("compose", script, tmp_path, params={"length": 3})
    check_same("compose", script, tmp_path / "seq", params={"kind": "sequential"})
    check_hostile("compose", script, params={"length": 3, "max_tokens": 512})
    check_hostile("compose", script, params={"kind": "sequential"})


@pytest.mark.model
def test_sequential_with_the_real_model(smollm: Path) -> None:
    params = {
        "kind": "sequential",
        "judge": False,
        "rounds": 1,
        "max_tokens": 128,
        "temperature": 0.3,
    }
    keeps_some("compose", smollm, target=short_tasks()[1:3], params=params)
