"""Answers to prompts alone: as they stand, several of them, and the one that most agree with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.generate.generation import Generation, SeedExample
from curate.generate.methods.answer import AnswerGenerator
from curate.llm.requests import Call
from tests.conftest import turns
from tests.generate.generations import generate, reject_reasons
from tests.generate.scripted import ScriptedEngine, text_of
from tests.generate.stages import check_same, keeps_some


def prompt(name: str, *texts: str) -> SeedExample:
    return SeedExample(f"asks/{name}", turns(*texts))


SUM = prompt("sum", "How much is 20 and 3?")
RIVER = prompt("river", "Name the river of Cologne.")


def by_sample(*texts: str) -> ScriptedEngine:
    def reply(call: Call) -> str:
        return texts[call.sample % len(texts)]

    return ScriptedEngine([(lambda call: True, reply)])


def answer(engine: ScriptedEngine, *prompts: SeedExample, **params: Any) -> Generation:
    return generate("answer", engine, unanswered=prompts, params=params)


def test_each_prompt_is_asked_as_it_stands_and_answered_once() -> None:
    talk = prompt("talk", "a boat", "It floats.", "And a stone?")
    system: Message = {"role": "system", "content": "Be brief."}
    ruled = SeedExample("asks/ruled", [system, *turns("What is a quay?")])
    engine = ScriptedEngine([(lambda call: True, lambda call: f"About {text_of(call)[-12:]} now")])
    run = answer(engine, SUM, talk, ruled)
    assert [list(call.request.messages) for call in engine.calls] == [
        SUM.messages, talk.messages, ruled.messages,
    ]  # fmt: skip
    assert all(call.sampling.temperature == 0 for call in engine.calls)
    assert [c.parents for c in run.kept] == [("asks/sum",), ("asks/talk",), ("asks/ruled",)]
    assert run.kept[1].messages == [*talk.messages, turns("", "About And a stone? now")[1]]


def test_prompts_that_wait_for_no_answer_are_passed_over_and_counted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    two = SeedExample("asks/two", [*turns("One?"), *turns("Two?")])
    run = answer(by_sample("The answer is 23."), two, SUM, prompt("had", "a", "b"))
    assert run.tables["prompts"].rows() == [
        ("asks/two", "passed over", 0, None),
        ("asks/sum", "answered", 1, None),
        ("asks/had", "passed over", 0, None),
    ]
    assert "answer: 2 prompts with several user turns in a row" in caplog.text
    with pytest.raises(UserError, match="none of 1 prompts ends with one user turn"):
        answer(by_sample("x"), two)


def test_of_several_answers_all_that_differ_are_kept() -> None:
    run = answer(by_sample("It is 23.", "So 23.", "it is  23."), SUM, samples=3)
    assert reject_reasons(run.candidates) == [None, None, "not_new"]
    assert run.candidates[0].prompt == SUM.prompt


def test_with_a_checker_the_answer_that_most_agree_with_is_kept() -> None:
    said = ("I have no idea.", "It is 17.", "It is 23.", "20 + 3 = 23", "So: 23")
    run = answer(by_sample(*said), SUM, samples=5, checker="numeric")
    assert reject_reasons(run.candidates) == [
        "no_answer", "over_quota", None, "over_quota", "over_quota",
    ]  # fmt: skip
    assert run.kept[0].response == "It is 23."
    assert run.kept[0].notes["agreement"] == 0.6
    assert run.tables["prompts"]["agreement"].to_list() == [0.6]


def test_answers_that_do_not_agree_keep_nothing() -> None:
    run = answer(by_sample("It is 17.", "It is 23.", "It is 5."), SUM, samples=3, checker="numeric")
    assert reject_reasons(run.candidates) == ["inconsistent"] * 3
    assert run.tables["prompts"]["state"].to_list() == ["dropped"]


def test_answers_that_say_the_same_all_vote() -> None:
    said = ("It is 23.", "It is 23.", "It is 17.")
    run = answer(by_sample(*said), SUM, samples=3, checker="numeric")
    assert reject_reasons(run.candidates) == [None, "not_new", "over_quota"]
    assert run.kept[0].notes["agreement"] == pytest.approx(2 / 3, abs=1e-3)


@pytest.mark.parametrize("params", [{"checker": "numeric"}, {"samples": 2, "checker": "regex"}])
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="checker"):
        AnswerGenerator.model_validate(params)


def test_the_contract_holds_and_a_replay_changes_nothing(tmp_path: Path) -> None:
    check_same(
        "answer",
        lambda: by_sample("The answer to it is 23.", "I think of 17 of them."),
        tmp_path,
        unanswered=[SUM, RIVER, prompt("bees", "How long do bees live?")],
        params={"samples": 2},
    )


@pytest.mark.model
def test_a_real_model_answers(smollm: Path) -> None:
    keeps_some("answer", smollm, unanswered=[SUM, RIVER], params={"max_tokens": 60})
