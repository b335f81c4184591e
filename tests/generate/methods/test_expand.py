"""Instruction and pair expansion: topics covered, rounds one after the other, shots."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.generate.candidates import RejectReason
from curate.generate.generation import Generation
from curate.generate.methods.expand import NAMED, ExpandGenerator, SeedTopics
from curate.llm.requests import Call
from tests.generate.generations import TARGET, example, examples, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of
from tests.generate.stages import check_hostile, check_same, keeps_some, stage_calls, words

WRITE, PAIR = "You write tasks. You", "You write tasks with their"


def tasks(call: Call) -> str:
    """Give as many tasks as are asked for, on topics of their own."""
    count = answer_schema(call)["properties"]["tasks"]["maxItems"]
    terms = words(call, 6 * count).split()
    items = [terms[6 * i : 6 * i + 6] for i in range(count)]
    return json.dumps(
        {"tasks": [{"topic": f"{w[0]} {w[1]}", "prompt": f"Tell: {' '.join(w)}"} for w in items]}
    )


def tasks_of(prompt: str) -> str:
    return json.dumps({"tasks": [{"topic": "moon", "prompt": prompt}]})


def one(call: Call) -> str:
    topic = words(call, 9)
    return json.dumps({"topic": topic[:12], "prompt": f"Why {topic}?", "response": f"So {topic}."})


def script(**changed: Any) -> ScriptedEngine:
    return ScriptedEngine(
        [
            (WRITE, changed.get("tasks", tasks)),
            (PAIR, changed.get("pair", one)),
            ("", changed.get("answer", lambda call: f"It is {words(call, 8)}.")),
        ]
    )


def expand(engine: Any, targets: int = 3, **params: Any) -> Generation:
    return generate("expand", engine, target=examples(TARGET[:targets]), params=params)


def test_rounds_of_lists_then_answers() -> None:
    engine = script()
    run = expand(engine, rounds=3, count=4)
    assert reject_reasons(run.candidates) == [None] * 36
    assert engine.batches == [3, 12] * 3
    assert {c.parents for c in run.candidates} == {(e.row_id,) for e in run.target}
    assert {c.hop for c in run.candidates} == {1}
    assert {c.notes["round"] for c in run.candidates} == {1, 2, 3}
    generator = ExpandGenerator(rounds=3, count=4)
    assert generator.cost(3, 0).calls == len(engine.calls) == 45


def test_topics_that_are_covered_are_named_in_the_next_round() -> None:
    engine = script()
    run = expand(engine, targets=2, rounds=3, count=2)
    calls = stage_calls(engine, WRITE)
    assert all("taken" not in text_of(call) for call in calls[:2])
    for call in calls[2:]:
        row = next(e for e in run.target if e.prompt in text_of(call))
        number = 2 if call in calls[2:4] else 3
        children = [c for c in run.candidates if c.parents == (row.row_id,)]
        before = [c.notes["topic"] for c in children if c.notes["round"] < number]
        assert f"These topics are taken: {'; '.join(before)}" in text_of(call)
        others = [c.notes["topic"] for c in run.candidates if c.parents != (row.row_id,)]
        assert not any(topic in text_of(call) for topic in set(others) - set(before))


def test_a_topic_twice_goes_before_it_is_answered() -> None:
    def same(call: Call) -> str:
        answer = json.loads(tasks(call))
        answer["tasks"][0]["topic"] = "The  moon."
        return json.dumps(answer)

    engine = script(tasks=same)
    run = expand(engine, targets=1, rounds=2, count=2)
    assert reject_reasons(run.candidates) == [None, None, "not_new", None]
    assert run.candidates[2].detail == "the topic 'The moon' is covered"
    assert engine.batches == [1, 2, 1, 1]


def test_topics_are_compared_by_their_words() -> None:
    line = SeedTopics(example("target/1", "a", "b"), [])
    assert [line.cover(t) for t in ("Deep sea", "deep  SEA!", "sea", "!", "")] == [
        True, False, True, False, False,
    ]  # fmt: skip
    assert line.topics == ["Deep sea", "sea"]
    assert NAMED >= 30


def test_pairs_come_in_one_go_after_some_rows() -> None:
    engine = script()
    run = expand(engine, mode="pairs", rounds=2, shots=2)
    assert reject_reasons(run.candidates) == [None] * 6
    assert engine.batches == [3, 3]
    for call, candidate in zip(engine.calls, run.candidates, strict=True):
        text = text_of(call)
        shot_ids = [e.row_id for e in run.target if e.response in text]
        assert len(shot_ids) == 2
        # The line's own row is the last shot and the first parent.
        assert sorted(candidate.parents) == shot_ids
        own = next(e for e in run.target if e.row_id == candidate.parents[0])
        assert text.index(own.prompt) == max(
            text.index(e.prompt) for e in run.target if e.prompt in text
        )
        assert candidate.response.startswith("So ")
    assert ExpandGenerator(mode="pairs", rounds=2).cost(3, 0).calls == 6


def test_more_shots_than_rows_is_an_error_before_any_call() -> None:
    engine = script()
    with pytest.raises(UserError, match="4 rows are to be shown, but there are 3"):
        expand(engine, mode="pairs", shots=4)
    assert engine.calls == []
    assert expand(engine, rounds=1, shots=4).kept


@pytest.mark.parametrize(
    ("mode", "changed", "reject_reason"),
    [
        ("instructions", {"tasks": "Tell of the moon."}, RejectReason.INVALID),
        ("instructions", {"tasks": Reply('{"tasks": [', "truncated")}, RejectReason.TRUNCATED),
        ("instructions", {"tasks": tasks_of("x " * 20)}, RejectReason.TRUNCATED),
        ("instructions", {"tasks": tasks_of(" ")}, RejectReason.EMPTY),
        ("instructions", {"answer": Reply(finish="empty")}, RejectReason.EMPTY),
        ("pairs", {"pair": Reply(finish="failed", error="gone")}, RejectReason.FAILED),
        ("pairs", {"pair": '{"topic": "moon", "prompt": "Why so?", "response": " "}'},
     RejectReason.EMPTY),
    ],
)  # fmt: skip
def test_flaws(mode: str, changed: dict[str, Any], reject_reason: RejectReason) -> None:
    params = {"mode": mode, "rounds": 1, "count": 1, "prompt_letters": 40, "shots": 1}
    run = generate("expand", script(**changed), target=examples(TARGET[:1]), params=params)
    assert reject_reasons(run.candidates) == [reject_reason.value]


def test_the_system_turn_stays() -> None:
    target = [example("target/1", "Which river is long?", "The Nile.", "Be brief.")]
    for mode in ("instructions", "pairs"):
        params = {"mode": mode, "rounds": 1, "shots": 1}
        run = generate("expand", script(), target=target, params=params)
        assert {c.messages[0]["content"] for c in run.kept} == {"Be brief."}


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    check_same("expand", script, tmp_path, params={"rounds": 2, "count": 3})
    check_same("expand", script, tmp_path / "pairs", params={"rounds": 2, "mode": "pairs"})
    check_hostile("expand", script, params={"rounds": 2, "count": 3})


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    small = {"rounds": 1, "count": 2, "prompt_letters": 160, "max_tokens": 96, "rows": 2}
    keeps_some("expand", smollm, "float32", params=small)


@pytest.mark.model
def test_pairs_with_the_real_model(smollm: Path) -> None:
    small = {"mode": "pairs", "rounds": 1, "prompt_letters": 160, "max_tokens": 80}
    keeps_some("expand", smollm, params=small)
