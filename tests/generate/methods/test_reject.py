"""Rejection sampling: plans, caps, what is correct, guesses, tables."""

from __future__ import annotations

import json
from math import comb, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from curate.answers.checkers import is_gold
from curate.core.errors import UserError
from curate.generate.generation import Generation
from curate.generate.methods.reject import (
    LEAST_SHARE,
    Query,
    RejectGenerator,
    guess_rate,
    luck,
)
from curate.llm.limits import Limits
from curate.llm.requests import Call
from tests.generate.generations import example, generate, reject_reasons
from tests.generate.scripted import Reply, ScriptedEngine, text_of
from tests.generate.stages import check_hostile, check_same, keeps_some, stage_calls

GOLD = "The answer is 42."


def queries(*names: str, gold: str = GOLD) -> list[Any]:
    return [example(f"target/{name}", f"How many are {name}?", gold) for name in names]


def bernoulli(**shares: float) -> Any:
    """Solve each query with a chance of its own, in words of its own."""

    def solve(call: Call) -> str:
        rng = np.random.default_rng([call.sampling.seed, call.sample])
        name = next(name for name in shares if f"are {name}?" in text_of(call))
        number = 42 if rng.random() < shares[name] else 17
        return f"After {rng.integers(10**9)} steps: the answer is {number}."

    return solve


def script(then: Any) -> ScriptedEngine:
    return ScriptedEngine([(lambda call: True, then)])


def reject(engine: Any, target: list[Any], **params: Any) -> Generation:
    settings = {name: params.pop(name) for name in ("limits",) if name in params}
    return generate("reject", engine, target=target, params=params, **settings)


def table(run: Generation) -> dict[str, dict[str, Any]]:
    return {row["row_id"].split("/")[1]: row for row in run.tables["queries"].to_dicts()}


def test_uniform_as_many_of_each() -> None:
    shares = {"easy": 0.9, "half": 0.5, "hard": 0.1}
    engine = script(bernoulli(**shares))
    run = reject(engine, queries(*shares), plan="uniform", solutions=40, trials=2_000)
    rows_by_query = table(run)
    for name, share in shares.items():
        row = rows_by_query[name]
        assert row["kept"] == row["wanted"] == 40
        assert row["state"] == "done"
        # k / p trials, and what plans and luck add: a tenth, the pilot, three deviations.
        expected = 40 / share
        spread = 3 * sqrt(40 * (1 - share)) / share
        assert 40 <= row["trials"] < 1.1 * expected + 16 + 1.5 * spread
    assert (
        len(engine.calls)
        == sum(row["trials"] for row in rows_by_query.values())
        == len(run.candidates)
    )
    # All queries of a round are one batch.
    assert len(engine.batches) <= 9
    assert engine.batches[0] == 3 * 16


def test_kept_solutions_take_wrong_trials_along_each_text_once() -> None:
    said = [
        "It is 17.", GOLD, "it is  17.", "So it is 42.", Reply("It is 17, as I", "truncated"),
        "[INST] It is 18.", "It is 19.", "Now 42.", "No idea.",
    ]  # fmt: skip
    run = reject(
        script(lambda call: said[call.sample]), queries("apples"), plan="uniform", pilot=9, trials=9
    )
    trials = run.candidates
    notes = [c.notes.get("pair") for c in trials]
    ids = [trials[0].row_id, trials[6].row_id]
    assert [c.rejected for c in run.kept] == [
        trials[0].messages[-1:],
        trials[6].messages[-1:],
        None,
    ]
    assert [note for note in notes if note] == [
        {"how": "reject", "rejected_id": row_id, "margin": 1.0} for row_id in ids
    ]
    assert reject_reasons(trials)[0] == reject_reasons(trials)[6] == "wrong_answer"
    assert table(run)["apples"]["pairs"] == 2


def test_no_wrong_trial_is_spent_on_a_solution_that_the_filters_drop() -> None:
    said = ["It is 17.", GOLD, "As an AI model I say 42.", "So it is 42.", "It is 19."]
    run = reject(
        script(lambda call: said[call.sample]), queries("apples"), plan="uniform", pilot=5, trials=5
    )
    assert reject_reasons(run.candidates)[2] == "refused"
    assert [c.rejected for c in run.candidates] == [
        None, run.candidates[0].messages[-1:], None, run.candidates[4].messages[-1:], None,
    ]  # fmt: skip


def test_guessed_solutions_make_no_pairs() -> None:
    engine = script(lambda call: "It is 3." if call.sample % 10 == 0 else "It is 4.")
    run = reject(engine, queries("apples", gold="The answer is 3."), pilot=20, trials=20)
    assert table(run)["apples"]["state"] == "guessable"
    assert not any(c.rejected for c in run.candidates)


def test_difficulty_gives_hard_queries_more_and_none_nothing() -> None:
    engine = script(bernoulli(sure=1.0, half=0.5, hard=0.1))
    run = reject(engine, queries("sure", "half", "hard"), solutions=20, trials=2_000)
    rows_by_query = table(run)
    assert rows_by_query["sure"]["wanted"] == 1
    assert rows_by_query["sure"]["difficulty"] == pytest.approx(0.5 / 17)
    assert rows_by_query["sure"]["kept"] == 1
    assert (
        rows_by_query["sure"]["wanted"]
        < rows_by_query["half"]["wanted"]
        < rows_by_query["hard"]["wanted"]
        <= 20
    )
    for row in rows_by_query.values():
        assert row["kept"] == row["wanted"]
        assert row["wanted"] >= 1
    # What is over is on record.
    over = [c for c in run.candidates if c.reject_reason == "over_quota"]
    assert {c.parents[0] for c in over} >= {"target/sure"}
    assert len(over) == sum(row["distinct"] - row["kept"] for row in rows_by_query.values())


def test_what_is_never_solved_stops_at_the_cap() -> None:
    engine = script(bernoulli(never=0.0, sure=1.0))
    run = reject(engine, queries("never", "sure"), solutions=5, trials=60)
    rows_by_query = table(run)
    assert rows_by_query["never"] | {"guess": 0} == {
        "row_id": "target/never", "trials": 60, "correct": 0, "distinct": 0, "unparsable": 0,
        "wanted": 5, "kept": 0, "pairs": 0, "difficulty": 1 - 0.5 / 17, "guess": 0, "state": "unsolved",
    }  # fmt: skip
    assert rows_by_query["sure"]["trials"] == 16
    generator = RejectGenerator(trials=60)
    assert generator.cost(2, 0).calls == 120
    assert RejectGenerator(trials=60, most=70).cost(2, 0).calls == 70


def test_the_budget_over_all_is_shared() -> None:
    engine = script(bernoulli(a=0.0, b=0.0, c=0.0))
    run = reject(engine, queries("a", "b", "c"), trials=1_000, most=100, solutions=40)
    assert len(engine.calls) == 100
    assert sorted(row["trials"] for row in table(run).values()) == [33, 33, 34]
    # Less than a pilot for each: the first ones have one trial more.
    engine = script(bernoulli(a=0.0, b=0.0, c=0.0))
    run = reject(engine, queries("a", "b", "c"), most=5)
    assert [row["trials"] for row in table(run).values()] == [2, 2, 1]
    engine = script(bernoulli(a=0.0, b=0.0, c=0.0))
    run = reject(engine, queries("a", "b", "c"), most=2)
    assert [row["state"] for row in table(run).values()] == ["unsolved", "unsolved", "untried"]


def test_plans() -> None:
    query = Query(queries("a")[0], GOLD, 0.0, trials=16, quota=40)
    assert query.next_trials(10_000) == round(1.1 * 40 / (0.5 / 17))
    assert query.next_trials(100) == 84
    query.trials = 10**6
    assert query.next_trials(10**9) == round(1.1 * 40 / LEAST_SHARE)
    # Distinct solutions count.
    query.trials, query.solutions = 16, {str(i): None for i in range(8)}  # type: ignore[misc]
    assert query.missing == 32
    assert query.next_trials(1_000) == 71
    query.quota = 3
    assert query.missing == 0


@pytest.mark.parametrize(
    ("then", "reject_reason"),
    [
        (Reply("So it is 42. The answer is 42", "truncated"), "truncated"),
        ("The answer is 43.", "wrong_answer"),
        ("The answer is 42000.", "wrong_answer"),
        ("No idea at all.", "no_answer"),
        (Reply(finish="empty"), "empty"),
        (Reply(finish="failed", error="gone"), "failed"),
        ("I cannot, but the answer is 42.", "refused"),
    ],
)
def test_flaws(then: Any, reject_reason: str) -> None:
    run = reject(script(then), queries("a"), pilot=2, trials=2, solutions=1)
    # Identical solutions: only the first is judged by the common filters.
    assert reject_reasons(run.candidates) == [
        reject_reason,
        "not_new" if reject_reason == "refused" else reject_reason,
    ]
    row = table(run)["a"]
    assert row["kept"] == 0
    assert row["unparsable"] == (2 if reject_reason == "no_answer" else 0)


def test_the_math_checker_keeps_equal_expressions_and_counts_what_it_cannot_compare_apart() -> None:
    said = (r"It is \boxed{(x-1)(x+1)}", r"It is \boxed{x^2+1}", r"I take 9 off, \boxed{never}")
    engine = script(lambda call: said[call.sample % 3])
    target = [example("target/a", "Expand it: how many are a?", r"\boxed{x^2-1}")]
    run = reject(engine, target, checker="math", pilot=3, trials=3, solutions=1)
    assert reject_reasons(run.candidates) == [None, "wrong_answer", "no_answer"]
    row = table(run)["a"]
    assert (row["correct"], row["unparsable"], row["state"]) == (1, 1, "done")
    assert r"\boxed{" in text_of(engine.calls[0])


def test_identical_solutions_count_once() -> None:
    two = ["It is 6 x 7. The answer is 42.", "it is 6 x 7.  The answer is 42. "]
    engine = script(lambda call: two[call.sample % 2])
    run = reject(engine, queries("a"), plan="uniform", pilot=4, trials=8, solutions=3)
    assert reject_reasons(run.candidates) == [None] + ["not_new"] * 7
    assert run.candidates[1].detail == "the same solution again"
    row = table(run)["a"]
    assert (row["correct"], row["distinct"], row["state"]) == (8, 1, "short")


def test_rows_keep_the_query_and_name_it() -> None:
    target = [example("target/a", "How many are a?", GOLD, "Be exact.")]
    engine = script(bernoulli(a=1.0))
    run = reject(engine, target, pilot=3, solutions=3, plan="uniform")
    assert len(run.kept) == 3
    for candidate in run.kept:
        assert candidate.parents == ("target/a",)
        assert [m["role"] for m in candidate.messages] == ["system", "user", "assistant"]
        assert candidate.prompt == "How many are a?"
    assert [c.notes["trial"] for c in run.candidates] == [1, 2, 3]
    (call, *_) = engine.calls
    assert call.request.messages[0]["content"] == "Be exact."
    assert text_of(call).startswith("How many are a?\n\nThink step by step.")
    assert GOLD not in str(call.request.messages)
    assert call.sampling.temperature == 1.6
    assert call.sampling.top_p == 0.95


LETTERS = "Which is red?\nA) sky\nB) rose\nC) snow\nD) sea"


def test_guesses_are_no_solutions() -> None:
    def guess(call: Call) -> str:
        rng = np.random.default_rng([call.sampling.seed, call.sample])
        return f"By {rng.integers(10**9)}: the answer is ({'ABCD'[rng.integers(4)]})"

    target = [example("target/a", LETTERS, "B")]
    run = reject(script(guess), target, checker="choice", trials=200, solutions=100, rounds=3)
    row = table(run)["a"]
    assert row["trials"] == 200
    assert 30 < row["correct"] < 70
    assert row["guess"] == 0.25
    assert row["state"] == "guessable"
    assert run.kept == []
    assert {c.reject_reason for c in run.candidates} == {"wrong_answer", "inconsistent"}
    lucky = next(c for c in run.candidates if c.reject_reason == "inconsistent")
    assert lucky.detail == f"{row['correct']} of 200 are correct, where 1 of 4 guesses is"

    def know(call: Call) -> str:
        rng = np.random.default_rng([call.sampling.seed, call.sample])
        return f"By {rng.integers(10**9)}: the answer is ({'BBBA'[rng.integers(4)]})"

    run = reject(script(know), target, checker="choice", trials=200, solutions=100, rounds=3)
    assert run.kept


def test_luck_is_binomial() -> None:
    for n, c, g in ((16, 4, 0.25), (16, 8, 0.25), (10, 10, 0.5), (5, 0, 0.1), (1, 1, 0.1)):
        exact = sum(comb(n, k) * g**k * (1 - g) ** (n - k) for k in range(c, n + 1))
        assert luck(n, c, g) == pytest.approx(exact)
    # Numbers for which a binomial coefficient is no float.
    assert 0.4 < luck(20_000, 5_000, 0.25) < 0.6


@pytest.mark.parametrize(
    ("checker", "prompt", "gold", "rate"),
    [
        ("choice", LETTERS, "B", 0.25),
        ("choice", "Which?\nA) x\nB) y", "B", 0.5),
        ("choice", "Which?", "B", 0.25),
        ("numeric", "How many?", "It is 7.", 0.1),
        ("numeric", "How many?", "It is -10.", 0.1),
        ("numeric", "How many?", "It is 11.", 0.0),
        ("numeric", "How many?", "It is 1/3.", 0.0),
        ("exact", "Is it?", " Yes.", 0.5),
        ("json", "Is it?", "true", 0.5),
        ("exact", "Who?", "Yesenia", 0.0),
    ],
)
def test_what_can_be_guessed(checker: Any, prompt: str, gold: str, rate: float) -> None:
    assert guess_rate(checker, example("target/1", prompt, gold)) == rate


def test_rows_without_a_gold_answer_are_told_and_cost_nothing() -> None:
    target = [*queries("a"), example("target/b", "Who is it?", "Nobody knows.")]
    engine = script(bernoulli(a=1.0))
    run = reject(engine, target, pilot=2, solutions=1)
    assert table(run)["b"]["state"] == "no_gold"
    assert not stage_calls(engine, "Who is it?")
    engine = script(bernoulli(a=1.0))
    with pytest.raises(UserError, match="of 1 rows none has an answer that the numeric checker"):
        reject(engine, target[1:])
    assert engine.calls == []
    assert is_gold("json", '{"a": 1}') and not is_gold("json", "a: 1")
    assert is_gold("choice", "(B)") and not is_gold("choice", "both")
    assert not is_gold("exact", " ")


def test_regex_and_json_golds() -> None:
    target = [example("target/a", "A date of 2026 as 2026-MM-DD?", "2026-01-02")]
    answers = ["2026-03-04", "2026-3-4", "on 2026-05-06"]
    engine = script(lambda call: answers[call.sample])
    run = reject(engine, target, checker="regex", pattern=r"2026-\d\d-\d\d", pilot=3, trials=3)
    assert reject_reasons(run.candidates) == [None, "wrong_answer", "wrong_answer"]
    target = [example("target/a", "The point 1, 2 as JSON?", '{"x": 1, "y": 2}')]
    answers = [json.dumps({"y": 2.0, "x": 1}), '{"x": 1}', "{"]
    engine = script(lambda call: answers[call.sample])
    run = reject(engine, target, checker="json", pilot=3, trials=3)
    assert reject_reasons(run.candidates) == [None, "wrong_answer", "no_answer"]
    for wrong in ({"checker": "regex"}, {"pattern": "a"}, {"checker": "regex", "pattern": "("}):
        with pytest.raises(ValidationError, match="pattern"):
            RejectGenerator(**wrong)


@pytest.mark.parametrize("calls", [0, 5, 33, 40])
def test_a_limit_in_the_middle_leaves_what_is_there(calls: int) -> None:
    engine = script(bernoulli(a=0.5, b=0.5))
    run = reject(engine, queries("a", "b"), solutions=20, limits=Limits(calls=calls))
    assert len(engine.calls) == len(run.candidates) == calls
    assert run.stopped
    assert sum(row["trials"] for row in table(run).values()) == calls
    assert all(row["kept"] <= max(row["wanted"], 0) for row in table(run).values())
    assert bool(run.kept) == (calls > 0)


def test_batches_replay_and_limits(tmp_path: Path) -> None:
    def solver() -> ScriptedEngine:
        return script(bernoulli(a=0.6, b=0.3))

    settings = {"target": queries("a", "b"), "params": {"solutions": 10, "pilot": 4}}
    check_same("reject", solver, tmp_path, **settings)
    check_hostile("reject", lambda: script("It is 3."), params={"pilot": 1, "trials": 2})


@pytest.mark.model
def test_with_the_real_model(smollm: Path) -> None:
    target = [example("target/1", "What is the capital of France?", "Paris")]
    params: dict[str, Any] = {
        "checker": "regex",
        "pattern": "(?is).*paris.*",
        "pilot": 4,
        "trials": 4,
    }
    params |= {"solutions": 4, "max_tokens": 64, "temperature": 0.7}
    run = keeps_some("reject", smollm, target=target, params=params)
    assert run.tables["queries"].height == 1
