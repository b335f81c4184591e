"""Answers to prompts alone: as they stand, several of them, and the one that most agree with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.generate.engines import NamedEngine
from curate.generate.generation import Generation, SeedExample
from curate.generate.knockout import BestAnswer
from curate.generate.methods.answer import AnswerGenerator
from curate.llm.ask import EngineClient
from curate.llm.limits import Limits
from curate.llm.requests import Call
from curate.testing import check_candidates
from tests.conftest import turns
from tests.generate.generations import generate, generation, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_same, keeps_some


def prompt(name: str, *texts: str) -> SeedExample:
    return SeedExample(f"asks/{name}", turns(*texts))


SERVER = {"kind": "openai", "model": "any", "endpoints": [{"url": "http://localhost:1/v1"}]}
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
        ("asks/two", "passed over", 0, None, None),
        ("asks/sum", "answered", 1, None, None),
        ("asks/had", "passed over", 0, None, None),
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


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"checker": "numeric"}, "checker compares"),
        ({"samples": 2, "checker": "regex"}, "checker: a regex"),
        ({"judge": SERVER}, "judge chooses among several answers"),
        ({"judge": SERVER, "samples": 2, "checker": "numeric"}, "and no checker"),
        ({"engines": [SERVER, SERVER]}, "give samples of 2 or more"),
    ],
)
def test_parameters_that_make_no_sense_are_refused(params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        AnswerGenerator.model_validate(params)


def with_engines(
    *prompts: SeedExample, limits: Limits | None = None, samples: int = 3, **engines: ScriptedEngine
) -> Generation:
    """Return a run whose answers come from engines a and b, or from its own, and that c judges."""
    names = [name for name in ("a", "b") if name in engines]
    params = {
        "samples": samples,
        "engines": [SERVER] * len(names),
        **({"judge": SERVER} if "c" in engines else {}),
    }
    run, generator = generation(
        "answer",
        engines.get("main", ScriptedEngine([])),
        unanswered=prompts,
        params=params,
        limits=limits,
    )
    named = {n: NamedEngine(n, EngineClient(engines[n], beside=run.client)) for n in engines}
    run.engines = {"engines": [named[name] for name in names]} if names else {}
    run.engines = {**run.engines, **({"judge": [named["c"]]} if "c" in engines else {})}
    generator.generate(run)
    check_candidates(run)
    return run


def prefers(*best_first: str) -> ScriptedEngine:
    """Return a judge by a list of answers, the best one first, who is never in doubt."""

    def judge(call: Call) -> str:
        text = text_of(call)
        places = {answer: text.rindex(answer) for answer in best_first if answer in text}
        best = next(answer for answer in best_first if answer in places)
        second = places[best] == max(places.values())
        if "Which one, A, B or C?" in text:
            return json.dumps({"answer": "A" if second else "B"})
        return json.dumps({"reason": "so it is", "better": "B" if second else "A"})

    return ScriptedEngine([(lambda call: True, judge)])


def bill_of(run: Generation) -> dict[str, int]:
    return {name: one["calls"] for name, one in run.client.bill.to_dict()["stages"].items()}


def test_engines_take_turns_and_the_row_has_the_name_of_its_own() -> None:
    a = by_sample("The Rhine it is.", "It is the Rhine, says one.")
    b = by_sample("That is the Elbe, surely.")
    run = with_engines(RIVER, SUM, a=a, b=b)
    assert [(c.notes["engine"], c.response) for c in run.kept if c.parents == ("asks/river",)] == [
        ("a", "The Rhine it is."),
        ("b", "That is the Elbe, surely."),
        ("a", "It is the Rhine, says one."),
    ]
    assert bill_of(run) == {"answer.answer (a)": 4, "answer.answer (b)": 2}
    assert run.client.counts()["calls"] == 6


def test_a_judge_keeps_the_best_answer_with_its_confidence() -> None:
    said = ("The Elbe.", "The Rhine.", "The Danube.")
    main = by_sample(*said)
    run = with_engines(RIVER, SUM, main=main, c=prefers("The Rhine.", "The Danube.", "The Elbe."))
    assert [c.response for c in run.kept] == ["The Rhine."] * 2
    assert reject_reasons(run.candidates) == ["over_quota", None, "over_quota"] * 2
    assert run.kept[0].notes["confidence"] == 1.0
    assert run.tables["prompts"].rows()[0] == ("asks/river", "answered", 3, None, 1.0)
    assert bill_of(run) == {"answer.answer": 6, "answer.judge (c)": 24}
    cost = AnswerGenerator(samples=3, judge=SERVER).cost(2, 0)
    assert (cost.calls, cost.rows) == (30, 2)
    # 3 answers each, and 2 comparisons of 2 choices and 4 reflections.
    assert cost.written_tokens == 2 * (3 * 2_048 + 2 * (2 * 128 + 4 * 16))


def test_the_confidence_is_the_least_of_the_comparisons() -> None:
    best = BestAnswer()
    for challenger, preference in ((1, 0.8), (2, 0.3), (3, 0.5)):
        best.meet(challenger, preference)
    assert (best.best, best.confidence) == (1, 0.5)
    other = BestAnswer()
    other.meet(1, 0.1)
    assert (other.best, other.confidence) == (0, 0.9)


def test_a_judge_of_no_use_keeps_nothing_and_one_answer_needs_none() -> None:
    silent = ScriptedEngine([(lambda call: True, Reply("", "refused"))])
    run = with_engines(RIVER, main=by_sample("The Rhine.", "The Elbe."), c=silent)
    assert reject_reasons(run.candidates) == ["low_grade", "low_grade", "not_new"]
    unasked = ScriptedEngine([])
    alone = with_engines(RIVER, main=by_sample("The Rhine."), c=unasked)
    assert reject_reasons(alone.candidates) == [None, "not_new", "not_new"]
    assert "confidence" not in alone.kept[0].notes


def test_limits_are_those_of_all_engines_together() -> None:
    main, judge = by_sample("The Rhine.", "The Elbe."), prefers("The Rhine.", "The Elbe.")
    run = with_engines(RIVER, SUM, main=main, c=judge, samples=2, limits=Limits(calls=12))
    assert run.client.counts()["calls"] == 12
    assert run.stopped
    assert run.tables["prompts"]["state"].to_list() == ["answered", "unsent"]
    assert {c.parents for c in run.candidates} == {("asks/river",)}


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
