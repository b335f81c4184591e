"""Rationales: reasons by a hint that lead back without it, what gives labels away, what has none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.rationale import RationaleGenerator
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import example, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_hostile, check_same, keeps_some, quoted, stage_calls, words

FLOATS = example("target/floats", "Which floats?\nA) a nail\nB) a cork", "B", "Be brief.")
SUM = example("target/sum", "How many are 3 boxes of 12, less 5?", "31")
FEELS = example("target/feels", "Is it positive or negative: what a film!", "positive")
ROWS = [FLOATS, SUM, FEELS]
ANSWERS = {"Which floats?": "B", "3 boxes": "31", "what a film": "Positive.", "2 and 3": "5"}


def reason(call: Call) -> str:
    return f"One looks at {words(call, 6)}. So the answer is {quoted(call, 1)}."


def conclude(call: Call) -> str:
    return next(answer for piece, answer in ANSWERS.items() if piece in text_of(call))


def script(reasons: Any = reason, then: Any = conclude) -> ScriptedEngine:
    return ScriptedEngine([("You explain how", reasons), ("You draw conclusions", then)])


def rationale(engine: Any, target: Any = ROWS, **params: Any) -> Generation:
    limits = params.pop("limits", None)
    return generate("rationale", engine, target=target, params=params, limits=limits)


def test_reasons_that_lead_back_stand_before_the_label() -> None:
    engine = script()
    run = rationale(engine)
    assert reject_reasons(run.candidates) == [None] * 3
    assert engine.batches == [3, 3]
    assert [c.parents for c in run.kept] == [(e.row_id,) for e in ROWS]
    assert {c.hop for c in run.kept} == {1}
    floats, total, feels = run.kept
    assert [m["role"] for m in floats.messages] == ["system", "user", "assistant"]
    assert floats.prompt == FLOATS.prompt
    assert floats.response.startswith("One looks at ")
    assert floats.response.endswith(".\n\nThe answer is B")
    assert "So" not in total.response
    assert total.response.endswith("The answer is 31")
    assert feels.notes["conclusion"] == "Positive."
    assert feels.response == f"{feels.notes['reasons']}\n\nThe answer is positive"
    assert run.tables["labels"].rows() == [(e.row_id, "kept", 1, 1) for e in ROWS]
    assert RationaleGenerator().cost(3, 0).calls == len(engine.calls) == 6


def test_the_label_is_a_hint_and_no_part_of_the_second_question() -> None:
    engine = script()
    rationale(engine, [FLOATS])
    first, second = engine.calls
    assert quoted(first) == f"Be brief.\n\n{FLOATS.prompt}" == quoted(second)
    assert quoted(first, 1) == "B"
    assert quoted(second, 1).startswith("One looks at ")
    # The last turn without the task, in which B is an option.
    rest = text_of(second).replace(quoted(second), "")
    assert "B" not in rest
    assert "So the answer" not in rest
    assert second.request.messages[-2]["content"] == "C"
    assert second.sampling.temperature == 0


@pytest.mark.parametrize(
    ("reasons", "conclusion", "reject_reason", "detail"),
    [
        (reason, "A", RejectReason.UNSUPPORTED, "they lead to 'A', not 'B'"),
        (reason, "Nobody can say.", RejectReason.NO_ANSWER, "they lead to 'Nobody"),
        (reason, Reply(finish="refused"), RejectReason.REFUSED, "refused"),
        ("The given answer is light and the other one is not.", "B",
         RejectReason.GIVES_LABEL, "given answer"),
        ("The answer is B.", "B", RejectReason.GIVES_LABEL, "nothing else"),
        (Reply("Bark floats", "truncated"), "B", RejectReason.TRUNCATED, "was cut at"),
    ],
)  # fmt: skip
def test_flaws(reasons: Any, conclusion: Any, reject_reason: RejectReason, detail: str) -> None:
    engine = script(reasons, conclusion)
    run = rationale(engine, [FLOATS])
    assert reject_reasons(run.candidates) == [reject_reason.value]
    assert detail in run.candidates[0].detail
    assert run.tables["labels"].rows() == [("target/floats", "dropped", 1, 0)]
    # What gives its label away is not paid for twice.
    early = reject_reason in (RejectReason.GIVES_LABEL, RejectReason.TRUNCATED)
    assert len(engine.calls) == (1 if early else 2)


def test_of_several_samples_those_that_differ_are_kept() -> None:
    texts = ["Bark is full of air, and air is light.", "Metal sinks in water and bark does not."]

    def sample(call: Call) -> str:
        return texts[call.sample % 2]

    engine = script(sample)
    run = rationale(engine, [FLOATS], samples=3)
    assert reject_reasons(run.candidates) == [None, None, "not_new"]
    assert len(stage_calls(engine, "You explain how")) == 3
    assert len(stage_calls(engine, "You draw conclusions")) == 2
    assert RationaleGenerator(samples=3).cost(1, 0).calls == 6
    assert engine.calls[0].sampling.temperature == 0.7


def test_rows_without_a_label_are_counted(caplog: pytest.LogCaptureFixture) -> None:
    worked = example("target/worked", "How many are 2 and 3?", "2 + 3 = 5\n#### 5")
    sentence = example("target/long", "Why?", "The moon pulls at the water, and it turns.")
    run = rationale(script(), [worked, SUM, sentence])
    assert [c.parents for c in run.kept] == [("target/sum",)]
    assert run.tables["labels"]["state"].to_list() == ["no label", "kept", "no label"]
    assert "rationale: 2 rows have no label" in caplog.text
    with pytest.raises(UserError, match="of 1 rows none has a label for its response"):
        rationale(script(), [sentence])
    # A checker is asked to read what it would not by itself.
    spoken = example("target/spoken", "How many are 2 and 3?", "There are 5 of them there.")
    reasons = "Two and three more are counted up from one on. So the answer is 5."
    (kept,) = rationale(script(reasons), [spoken], checker="numeric").kept
    assert kept.response == f"{reasons[:46]}\n\nThere are 5 of them there."
    with pytest.raises(UserError, match="none has a label"):
        rationale(script(), [spoken])


def test_a_label_alone_below_its_reasons() -> None:
    (kept,) = rationale(script(), [SUM], announce="").kept
    assert kept.response.splitlines()[1:] == ["", "31"]


def test_a_limit_leaves_out_what_was_not_sent() -> None:
    run = rationale(script(), limits=Limits(calls=2))
    assert run.candidates == []
    assert run.tables["labels"]["state"].to_list() == ["unsent"] * 3


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("rationale", script, tmp_path, target=ROWS, params={"samples": 2})
    check_hostile("rationale", lambda: script(then="No 3."))


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    # What a model this small concludes hardly hangs on the reasons.
    row = example("target/1", "Is it positive or negative: the film was bad.", "negative")
    params = {"samples": 4, "max_tokens": 96}
    keeps_some("rationale", smollm, target=[row], params=params)
