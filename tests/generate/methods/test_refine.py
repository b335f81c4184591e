"""Instruction refinement: one new instruction a row, and a judge that knows not which is new."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.refine import RefineGenerator
from curate.llm.requests import Call
from tests.generate.generations import TARGET, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine
from tests.generate.stages import (
    check_hostile,
    check_same,
    keeps_some,
    quoted,
    short_tasks,
    stage_calls,
    words,
)

REFINE, JUDGE = "You improve tasks.", "You compare tasks."
OLD = {prompt for prompt, _ in TARGET}


def refined(call: Call) -> str:
    return json.dumps({"prompt": f"{quoted(call)} Say {words(call, 5)}."})


def prefer(new: bool, same: bool = True) -> Any:
    def reply(call: Call) -> str:
        new_one = "B" if quoted(call) in OLD else "A"
        old_one = "A" if new_one == "B" else "B"
        better = new_one if new else old_one
        return json.dumps({"reason": "It is clear.", "same": same, "better": better})

    return reply


def script(**changed: Any) -> ScriptedEngine:
    return ScriptedEngine(
        [
            (REFINE, changed.get("refine", refined)),
            (JUDGE, changed.get("judge", prefer(new=True))),
            ("", changed.get("answer", lambda call: f"It is {words(call, 8)}.")),
        ]
    )


def refine(engine: Any, **params: Any) -> Generation:
    return generate("refine", engine, params=params)


def test_one_for_each_row_with_its_parent() -> None:
    engine = script()
    run = refine(engine)
    assert reject_reasons(run.candidates) == [None] * 3
    assert [c.parents for c in run.candidates] == [(e.row_id,) for e in run.target]
    assert {c.hop for c in run.candidates} == {1}
    assert engine.batches == [3, 3, 3]
    for candidate, row in zip(run.candidates, run.target, strict=True):
        assert candidate.prompt.startswith(f"{row.prompt} Say ")
        assert candidate.response.startswith("It is ")
    assert RefineGenerator().cost(3, 0).calls == 9
    assert RefineGenerator(judge=False).cost(3, 0).calls == 6


def test_the_judge_is_blind() -> None:
    many = [(f"What is {name}?", "It is that.") for name in "abcdefghijkl"]
    engine = script(judge=json.dumps({"reason": "I like A.", "same": True, "better": "A"}))
    run = generate("refine", engine, target=examples(many))
    places = {quoted(call) in dict(many) for call in stage_calls(engine, JUDGE)}
    assert places == {True, False}
    # One that always says A is right by chance alone.
    assert {None, "low_grade"} == set(reject_reasons(run.candidates))
    assert not stage_calls(engine, "original") and not stage_calls(engine, "refined")


@pytest.mark.parametrize(
    ("changed", "reject_reason", "calls"),
    [
        (
            {"refine": lambda call: json.dumps({"prompt": quoted(call)})},
            RejectReason.NOT_EVOLVED,
            1,
        ),
        ({"refine": "Which river, of all in Europe, is it?"}, RejectReason.INVALID, 3),
        ({"refine": Reply('{"prompt": "Which', "truncated")}, RejectReason.TRUNCATED, 2),
        ({"refine": json.dumps({"prompt": " "})}, RejectReason.EMPTY, 1),
        ({"judge": prefer(new=False)}, RejectReason.LOW_GRADE, 2),
        ({"judge": prefer(new=True, same=False)}, RejectReason.MEANING_CHANGED, 2),
        ({"answer": "Sorry, no."}, RejectReason.REFUSED, 3),
    ],
)
def test_flaws(changed: dict[str, Any], reject_reason: RejectReason, calls: int) -> None:
    engine = script(**changed)
    run = generate("refine", engine, target=examples(TARGET[:1]))
    assert reject_reasons(run.candidates) == [reject_reason.value]
    assert len(engine.calls) == calls


def test_without_a_judge() -> None:
    engine = script()
    assert len(refine(engine, judge=False).kept) == 3
    assert not stage_calls(engine, JUDGE)


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("refine", script, tmp_path, params={"start": "pool"})
    check_same("refine", script, tmp_path / "target")
    check_hostile("refine", script)


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    keeps_some(
        "refine",
        smollm,
        target=short_tasks(),
        params={"judge": False, "max_tokens": 64, "temperature": 0.5},
    )
