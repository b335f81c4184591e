"""Self-Instruct: demos, the drop table, kinds and examples, contradictions, rounds and their end."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.self_instruct import SelfInstructGenerator
from curate.llm.limits import Limits, LowYield
from curate.llm.requests import Call
from tests.generate.generations import (
    candidate_records,
    example,
    examples,
    generate,
    reject_reasons,
)
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of, texts_of
from tests.generate.stages import check_same, keeps_some
from tests.generate.test_novelty import rouge_l

SMALL = {"rounds": 2, "batch": 3, "tasks": 2, "demos": 3, "machine_demos": 1}
NOUNS = ["oaks", "gales", "mills", "roofs", "wells", "kites", "gulls", "tents", "reeds", "loams"]


def fresh(call: Call, place: int) -> str:
    """Return a task that no other call and place has."""
    seed = call.sampling.seed
    return " ".join(f"{NOUNS[(seed + place) % 10]}{seed % 9973}x{place}{k}" for k in "abcde") + "?"


def tasks(call: Call) -> str:
    return json.dumps({"tasks": [fresh(call, place) for place in range(2)]})


SYSTEMS = {
    "instructions": "You think up tasks for people to do in writing.",
    "whole": "You think up tasks for people to do in writing, and do them.",
    "kind": "You sort tasks into two kinds.",
    "input_first": "You write examples of tasks: first what is given, then a good answer.",
    "output_first": "You write examples of tasks: first the answer, then something for which it "
    "is right.",
}


def asks(name: str) -> Any:
    """Return a predicate on calls: whether it is this prompt of the method."""
    return lambda call: call.request.messages[0]["content"] == SYSTEMS[name]


def kind(listed: bool) -> str:
    return json.dumps({"options": "some", "listed": listed})


def one_example(given: str = "", output: str = "") -> Any:
    def write(call: Call) -> str:
        words = output or f"Answer of {call.sampling.seed} to it."
        return json.dumps({"examples": [{"input": given, "output": words}]})

    return write


def script(**then: Any) -> ScriptedEngine:
    rules = {
        "kind": kind(False),
        "whole": Reply(finish="empty"),
        "instructions": tasks,
        "input_first": one_example(),
        "output_first": json.dumps(
            {"examples": [{"output": "warm", "input": "Come in, friends!"}]}
        ),
    }
    return ScriptedEngine(
        [(asks(name), then.get(name, default)) for name, default in rules.items()]
    )


def instruct(engine: Any, **params: Any) -> Generation:
    names = ("target", "limits", "cache", "seed")
    settings = {name: params.pop(name) for name in names if name in params}
    return generate("self_instruct", engine, params=SMALL | params, **settings)


def stage_calls(engine: ScriptedEngine, name: str) -> list[Call]:
    return [call for call in engine.calls if asks(name)(call)]


def test_counts_of_calls_and_rows() -> None:
    engine = script()
    run = instruct(engine)
    assert len(run.kept) == len(run.candidates) == 2 * 3 * 2
    assert {
        name: len(stage_calls(engine, name)) for name in ("instructions", "kind", "input_first")
    } == {
        "instructions": 6,
        "kind": 12,
        "input_first": 12,
    }
    # One large batch a stage and round.
    assert engine.batches == [3, 6, 6] * 2
    generator = SelfInstructGenerator(rounds=2, batch=3, tasks=2)
    assert generator.cost(3, 0).calls == len(engine.calls) == 30
    row = run.kept[0]
    assert [m["role"] for m in row.messages] == ["user", "assistant"]
    assert row.prompt == row.notes["task"]


def test_machine_made_demos_come_from_the_second_round_on_and_raise_the_hop() -> None:
    engine = script()
    run = instruct(engine, rounds=3)
    target = {e.row_id for e in run.target}
    for candidate in run.candidates:
        machine = [p for p in candidate.parents if p not in target]
        assert len(candidate.parents) == 3 == len(set(candidate.parents))
        assert len(machine) == (1 if candidate.notes["round"] else 0)
    assert Counter(c.hop for c in run.candidates if c.notes["round"] == 0) == {1: 6}
    assert max(c.hop for c in run.candidates) > 1
    by_id = {c.row_id: c for c in run.candidates}
    prompts = {e.row_id: e.prompt for e in run.target}
    for call, draft in zip(stage_calls(engine, "instructions"), run.candidates[::2], strict=True):
        demos = [prompts.get(p) or by_id[p].notes["task"] for p in draft.parents]
        # They are an answer that was given before.
        assert json.loads(texts_of(call)[2]) == {"tasks": demos}
        assert "Think up 3 tasks" in texts_of(call)[1]
        assert "Think up 2 more" in text_of(call)


def test_the_drop_table() -> None:
    wrong = {
        "Why so?": RejectReason.TOO_SHORT,
        "Say this and three": None,
        " ".join(f"w{i}" for i in range(151))[:300]: RejectReason.TRUNCATED,
        "Describe the images that hang in a hall": RejectReason.KEYWORD,
        "Write a program that adds up two rows": RejectReason.KEYWORD,
        "Imagery of the sea in old songs of sailors": None,
        "Which river flows through Cologne today?": RejectReason.NOT_NEW,
        "Name a river of France": RejectReason.NOT_NEW,
        "say THIS, and three!": RejectReason.NOT_NEW,
        "Tell why NASA sends so few people up:": None,
    }
    engine = script(instructions=json.dumps({"tasks": list(wrong)}))
    run = instruct(engine, rounds=1, batch=1, tasks=10)
    assert reject_reasons(run.candidates) == [
        reject_reason.value if reject_reason else None for reject_reason in wrong.values()
    ]
    # Nothing was paid for what went, and nothing but a colon was changed.
    assert len(stage_calls(engine, "kind")) == len(stage_calls(engine, "input_first")) == 3
    assert run.kept[-1].prompt == "Tell why NASA sends so few people up"
    assert run.candidates[2].detail == "task of 300 characters"


def test_tasks_too_long() -> None:
    words = " ".join("abcdefghij"[i % 10] + str(i % 7) for i in range(80))
    run = instruct(
        script(instructions=json.dumps({"tasks": [words]})),
        rounds=1,
        batch=1,
        filters={"prompt_words": [4, 60]},
    )
    assert reject_reasons(run.candidates) == ["too_long"]


def test_rouge_of_exactly_the_limit_is_new() -> None:
    # 7 words of 10 in common on both sides: 0.7. Of 11 of 15: 0.733.
    seed = "a1 b2 c3 d4 e5 f6 g7 h8 i9 j0"
    at = "a1 b2 c3 d4 e5 f6 g7 x1 x2 x3"
    above = "a1 b2 c3 d4 e5 f6 g7 h8 y2 y3"
    assert rouge_l(seed, at) == 0.7 < rouge_l(seed, above)
    run = instruct(
        script(instructions=json.dumps({"tasks": [above, at]})),
        rounds=1,
        batch=1,
        demos=1,
        machine_demos=0,
        target=[example("target/1", seed, "ten")],
    )
    assert reject_reasons(run.candidates) == ["not_new", None]


def test_classification_asks_for_outputs_first() -> None:
    engine = script(kind=[kind(True), kind(False), kind(True)])
    run = instruct(engine, rounds=1, batch=1)
    assert len(stage_calls(engine, "output_first")) == len(stage_calls(engine, "input_first")) == 1
    assert [c.notes["classification"] for c in run.kept] == [True, False]
    assert run.kept[0].prompt.endswith("?\n\nCome in, friends!")
    assert run.kept[0].response == "warm"
    schema = answer_schema(stage_calls(engine, "output_first")[0])
    assert "minLength" in schema["properties"]["examples"]["items"]["properties"]["input"]


@pytest.mark.parametrize(
    ("rows", "expected_reasons"),
    [
        # One input, two outputs: all examples of the task go.
        ([("one", "yes"), ("two two", "no"), ("one", "no")], ["inconsistent"] * 3),
        ([("one", "yes"), ("one", "yes")], [None, "not_new"]),
        ([("same", "same")], ["copies_prompt"]),
        ([("one", "as follows:")], ["incomplete"]),
        ([("this:", "that")], ["incomplete"]),
        ([("one", "  ")], ["empty"]),
        ([("", "first"), ("", "second")], [None, "not_new"]),
    ],
)
def test_examples_of_no_use(
    rows: Sequence[tuple[str, str]], expected_reasons: list[str | None]
) -> None:
    examples_json = json.dumps({"examples": [{"input": i, "output": o} for i, o in rows]})
    one = json.dumps({"tasks": ["Answer yes or no to what comes below"]})
    engine = script(instructions=one, input_first=examples_json)
    run = instruct(engine, rounds=1, batch=1, instances=5)
    assert reject_reasons(run.candidates) == expected_reasons


def test_an_output_that_fills_its_room_was_cut() -> None:
    engine = script(input_first=one_example(output="ab " * 48))
    run = instruct(engine, rounds=1, batch=1, max_tokens=128)
    assert set(reject_reasons(run.candidates)) == {"truncated"}


@pytest.mark.parametrize(
    ("name", "reply", "reject_reason", "count"),
    [
        ("instructions", Reply("{", finish="truncated"), "truncated", 1),
        ("instructions", Reply(finish="failed", error="gone"), "failed", 1),
        ("instructions", "no list", "invalid", 1),
        ("kind", Reply(finish="refused"), "refused", 2),
        ("input_first", Reply("[", finish="truncated"), "truncated", 2),
    ],
)
def test_answers_of_no_use(name: str, reply: Any, reject_reason: str, count: int) -> None:
    run = instruct(script(**{name: reply}), rounds=1, batch=1)
    assert reject_reasons(run.candidates) == [reject_reason] * count


def test_a_model_that_repeats_itself_comes_to_an_end() -> None:
    same = json.dumps({"tasks": ["Tell the story of a lost key", "Tell the story of a lost key"]})
    engine = script(instructions=same)
    run = instruct(engine, rounds=4, batch=5)
    assert len(stage_calls(engine, "instructions")) == 20
    assert len(run.kept) == 1
    assert Counter(reject_reasons(run.candidates)) == {None: 1, "not_new": 39}
    with pytest.raises(LowYield, match="only 1 of 50"):
        instruct(script(instructions=same), rounds=40, batch=5, least_yield=0.1)


def test_enough_is_enough() -> None:
    engine = script()
    run = instruct(engine, rounds=9, rows=7)
    assert len(run.kept) == 12
    assert len(stage_calls(engine, "instructions")) == 6


def whole(call: Call) -> str:
    return json.dumps(
        {
            "tasks": [
                {"task": fresh(call, 0), "input": "", "output": f"It is {fresh(call, 5)}"},
                {"task": fresh(call, 1), "input": "Given.", "output": f"So {fresh(call, 6)}"},
            ]
        }
    )


def test_whole_form_makes_triples_in_one_call() -> None:
    engine = script(whole=whole)
    run = instruct(engine, form="whole", machine_demos=0, domain="gardening")
    assert engine.batches == [3, 3]
    assert len(run.kept) == 12
    target = {e.row_id for e in run.target}
    assert all(c.hop == 1 and set(c.parents) <= target for c in run.candidates)
    assert run.kept[1].prompt.endswith("\n\nGiven.")
    _, first, given, _ = texts_of(engine.calls[0])
    assert "from gardening" in first
    triples = [{"task": e.prompt, "input": "", "output": e.response} for e in run.target]
    assert sorted(json.loads(given)["tasks"], key=str) == sorted(triples, key=str)


def test_made_triples_are_shown_whole() -> None:
    engine = script(whole=whole)
    run = instruct(engine, form="whole", rounds=2, batch=1)
    triple = next(c for c in run.candidates if c.row_id in run.candidates[-1].parents)
    demos = json.loads(texts_of(engine.calls[1])[2])["tasks"]
    task = triple.notes["task"]
    given = triple.prompt.removeprefix(task).strip()
    assert {"task": task, "input": given, "output": triple.response} in demos


def test_long_tasks_are_shown_in_part() -> None:
    long = "Tell of it. " * 60
    engine = script()
    instruct(engine, target=[example("t/1", long, "so")], rounds=1, batch=1, machine_demos=0)
    (demo,) = json.loads(texts_of(engine.calls[0])[2])["tasks"]
    assert demo == f"{long[:295]} ..."


def test_calls_of_the_whole_form() -> None:
    assert SelfInstructGenerator(form="whole").cost(3, 0).calls == 200


def test_three_of_eighty_are_drawn_evenly() -> None:
    pairs = [(f"Tell about {NOUNS[i % 10]} number{i}", f"Text {i}") for i in range(80)]
    run = instruct(
        script(whole=whole),
        form="whole",
        machine_demos=0,
        target=examples(pairs),
        rounds=1,
        batch=60,
    )
    drawn = Counter(p for c in run.candidates[::2] for p in c.parents)
    assert sum(drawn.values()) == 3 * 60
    assert len(drawn) > 60


def test_same_result_in_batches_and_again(tmp_path: Path) -> None:
    whole_run = check_same("self_instruct", script, tmp_path, params=SMALL | {"rounds": 3})
    assert candidate_records(instruct(script(), rounds=3, seed=1).candidates) != candidate_records(
        whole_run.candidates
    )


@pytest.mark.parametrize("most", [2, 5, 11, 20])
def test_a_limit_ends_it_with_what_there_is(most: int) -> None:
    engine = script()
    run = instruct(engine, limits=Limits(calls=most))
    assert run.stopped
    assert len(engine.calls) == most
    assert all(c.reject_reason is None for c in run.candidates)


def test_parameters() -> None:
    with pytest.raises(ValidationError, match="machine_demos must leave room"):
        SelfInstructGenerator(demos=2, machine_demos=2)


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    small = {"rounds": 1, "batch": 3, "demos": 2, "machine_demos": 0, "tasks": 2}
    keeps_some("self_instruct", smollm, params=small | {"max_tokens": 80})
