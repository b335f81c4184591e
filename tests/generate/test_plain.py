"""Prompts answered as they stand, and the system turn that examples share."""

from __future__ import annotations

from curate.generate.candidates import Candidate, RejectReason
from curate.generate.plain import answer_prompts, system_of
from tests.generate.generations import example, generation
from tests.generate.scripted import Reply, ScriptedEngine, texts_of


def test_the_system_turn_that_examples_share() -> None:
    one, two = example("a", "p", "r", "Be brief."), example("b", "q", "r", "Be brief.")
    assert system_of([one, two]) == "Be brief."
    assert system_of([one, example("c", "q", "r")]) is None
    assert system_of([example("c", "q", "r")]) is None
    assert system_of([]) is None


def test_prompts_are_answered_as_they_stand() -> None:
    engine = ScriptedEngine([("lost", Reply(finish="failed", error="gone")), ("", " So it is.\n")])
    run, _ = generation("magpie", engine)
    system = {"role": "system", "content": "Be brief."}
    turns = [{"role": "user", "content": "What is {{ it }}?"}]
    drafts = [
        Candidate([system, *turns], "magpie", notes={"k": 0}),  # type: ignore[list-item]
        Candidate([{"role": "user", "content": "lost"}], "magpie", notes={"k": 1}),
        Candidate([], "magpie", notes={"k": 2}).drop(RejectReason.EMPTY),
    ]
    candidates = answer_prompts(run, drafts, lambda draft: [draft.notes["k"]], max_tokens=99)
    assert [texts_of(call) for call in engine.calls] == [
        ["Be brief.", "What is {{ it }}?"],
        ["lost"],
    ]
    assert engine.calls[0].sampling.max_tokens == 99
    assert [m["content"] for m in candidates[0].messages] == [
        "Be brief.",
        "What is {{ it }}?",
        "So it is.",
    ]
    assert [c.reject_reason for c in candidates] == [None, RejectReason.FAILED, RejectReason.EMPTY]
