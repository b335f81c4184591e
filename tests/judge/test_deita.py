"""DEITA's grades: prompts, groups, expected digits, sums over turns, and the selection made of them."""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.section import Item
from curate.core.store import Store
from curate.judge.deita import DeitaStage, sum_turns
from curate.judge.turngrades import exchanges_of, expected_grade, roots_of
from curate.pipeline.curation import run_curation
from tests.conftest import frame, row, stored_rows, turns
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of, texts_of
from tests.judge.clearruns import EngineRun, judge_stage, pool, real_run, use
from tests.report.sections import blocks_of, section_of

ROWS = [(f"Task {k}", f"Answer {k}") for k in range(8)]


def numbers_in(call: Any) -> list[int]:
    """Return the tasks that a request shows, in its order."""
    return [int(k) for k in re.findall(r"^Task (\d)", text_of(call), re.M)]


def digit(call: Any, task: int) -> int:
    """Return the grade that the scripted judge gives: tasks 0 to 7 are harder and harder."""
    quality = "Response:" in text_of(call)
    return 6 - task // 2 if quality else 1 + task // 2


def side_by_side(call: Any) -> str:
    grades = {str(i): digit(call, task) for i, task in enumerate(numbers_in(call), start=1)}
    return json.dumps(grades)


def judged(
    store: Store,
    monkeypatch: Any,
    rows: Table | None = None,
    then: Any = side_by_side,
    **params: Any,
) -> tuple[Table, Table, ScriptedEngine]:
    engine = use(monkeypatch, [(lambda call: True, then)])
    run = EngineRun(store)
    rows = rows or pool(run, ROWS)
    verdicts, prepared = judge_stage(run, rows, {"kind": "deita", **params})
    return verdicts, prepared["grades"], engine


def test_rows_are_graded_six_at_a_time_and_scores_are_products(
    store: Store, monkeypatch: Any
) -> None:
    verdicts, grades, engine = judged(store, monkeypatch)
    evidence = verdicts.read()
    complexity = [1 + k // 2 for k in range(8)]
    assert evidence["complexity"].to_list() == complexity
    assert evidence["quality"].to_list() == [6 - k // 2 for k in range(8)]
    assert evidence["score"].to_list() == [c * (7 - c) for c in complexity]
    assert evidence["keep"].all() and evidence["turns"].to_list() == [1] * 8
    groups = [sorted(numbers_in(call)) for call in engine.calls]
    assert sorted(map(len, groups)) == [2, 2, 6, 6]
    assert grades.artifact.counts["llm"]["calls"] == 4 == DeitaStage().cost(8).calls
    assert grades.artifact.counts["ungraded"] == 0


def test_complexity_is_judged_by_the_instruction_alone(store: Store, monkeypatch: Any) -> None:
    _, _, engine = judged(store, monkeypatch)
    complexity, quality = engine.calls[0], engine.calls[-1]
    assert "complex" in texts_of(complexity)[0] and "Answer" not in text_of(complexity)
    assert "quality" in texts_of(quality)[0] and "Answer" in text_of(quality)
    form = answer_schema(complexity)
    assert list(form["properties"]) == [str(k) for k in range(1, len(numbers_in(complexity)) + 1)]
    assert form["properties"]["1"] == {"type": "integer", "minimum": 1, "maximum": 6}


def test_further_votes_stand_beside_others_and_are_averaged(store: Store, monkeypatch: Any) -> None:
    def then(call: Any) -> str:
        # The first two requests are the first vote on complexity, the next two the second one.
        grade = 2 if len(engine.calls) <= 2 else 5
        return json.dumps(dict.fromkeys(map(str, range(1, 1 + len(numbers_in(call)))), grade))

    engine = use(monkeypatch, [(lambda call: True, then)])
    run = EngineRun(store)
    stage = {"kind": "deita", "votes": 2, "together": 4}
    verdicts, _ = judge_stage(run, pool(run, ROWS), stage)
    groups = [frozenset(numbers_in(call)) for call in engine.calls[:4]]
    assert set().union(*groups[:2]) == set().union(*groups[2:]) == set(range(8))
    assert set(groups[:2]) != set(groups[2:])
    assert verdicts.read()["complexity"].to_list() == [3.5] * 8


def test_evolutions_stand_beside_what_they_were_made_of(store: Store, monkeypatch: Any) -> None:
    # Rows 0 and 1 are evolved twice, row 6 once; row 7 fills up.
    parents: list[list[str]] = [[], [], ["r0"], ["r1"], ["r2"], ["r3"], [], ["r6"]]
    rows = [row(f"r{k}", turns(*ROWS[k]), parents=parents[k]) for k in range(8)]
    table = stored_rows(store, "pool", rows)
    _, _, engine = judged(store, monkeypatch, table, together=3, votes=2)
    groups = [frozenset(numbers_in(call)) for call in engine.calls[:6]]
    assert set(groups[:3]) == {frozenset({0, 2, 4}), frozenset({1, 3, 5}), frozenset({6, 7})}
    assert set(groups[3:]) != set(groups[:3]), "further votes stand beside others"


def test_a_loop_of_parents_has_an_end() -> None:
    rows = frame(
        [row("a", turns("x", "y"), parents=["b"]), row("b", turns("x", "z"), parents=["a"])]
    )
    assert set(roots_of(rows.lazy())) == {"a", "b"}


def expected_reply(call: Any) -> Reply:
    number = int(re.findall(r"\[(\d)\] get\?", text_of(call))[0])
    grade = digit(call, numbers_in(call)[number - 1])
    chances = [0.25 if k == grade else 0.05 for k in range(1, 7)]
    return Reply("x", "truncated", choice_logprobs=tuple(math.log(p) for p in chances))


@pytest.mark.parametrize("together", [1, 6])
def test_expected_grades_are_means_over_the_chances_of_the_digits(
    store: Store, monkeypatch: Any, together: int, caplog: Any
) -> None:
    params: dict[str, Any] = {"expected": True, "together": together}
    verdicts, grades, engine = judged(store, monkeypatch, then=expected_reply, **params)
    digits = np.arange(1, 7)
    expected = [float(np.where(digits == 1 + k // 2, 0.25, 0.05) @ digits / 0.5) for k in range(8)]
    assert verdicts.read()["complexity"].to_list() == pytest.approx(expected)
    sampling = engine.calls[0].sampling
    assert (sampling.max_tokens, sampling.choices) == (1, ("1", "2", "3", "4", "5", "6"))
    assert len(engine.calls) == 16 == DeitaStage(expected=True).cost(8).calls
    assert {len(numbers_in(call)) for call in engine.calls} <= {1, 2, 6}
    assert grades.artifact.counts["ungraded"] == 0 and "of use" not in caplog.text


def test_an_engine_without_log_probabilities_is_told(store: Store, monkeypatch: Any) -> None:
    with pytest.raises(UserError, match="no answer came with log-probabilities"):
        judged(store, monkeypatch, then="3", expected=True)


@given(st.lists(st.floats(0.001, 1), min_size=6, max_size=6), st.integers(0, 63))
def test_the_expected_grade_is_a_mean_of_what_was_given(chances: list[float], lacking: int) -> None:
    logprobs = [math.nan if lacking >> k & 1 else math.log(p) for k, p in enumerate(chances)]
    weights = [0.0 if lacking >> k & 1 else p for k, p in enumerate(chances)]
    grade = expected_grade(logprobs)
    if not any(weights):
        assert math.isnan(grade)
    else:
        assert grade == pytest.approx(np.average(range(1, 7), weights=weights))
        assert 1 - 1e-9 <= grade <= 6 + 1e-9


def test_a_conversation_has_the_sum_over_its_trained_turns(store: Store, monkeypatch: Any) -> None:
    messages = turns("Task 6", "Answer 6", "Task 2", "Answer 2", "Task 4", "Answer 4")
    messages[3]["weight"] = 0
    rows = [row("r0", messages), row("r1", turns("Task 5", "Answer 5"))]
    verdicts, _, _ = judged(store, monkeypatch, stored_rows(store, "pool", rows))
    first = verdicts.read().row(0, named=True)
    assert (first["turns"], first["complexity"], first["quality"]) == (2, 4 + 3, 3 + 4)
    assert first["score"] == 4 * 3 + 3 * 4


def test_what_stands_before_a_turn_is_its_instruction() -> None:
    messages = [{"role": "system", "content": "Be brief."}, *turns("a", "b", "c", "d")]
    pairs = [(e.turn, e.prompt, e.response) for e in exchanges_of("r", messages, "r")]  # type: ignore[arg-type]
    assert pairs == [(1, "Be brief.\n\na", "b"), (2, "c", "d")]


def test_a_row_with_an_ungraded_turn_has_no_score_and_stays() -> None:
    grades = pl.DataFrame(
        {
            "row_id": ["a", "a", "b"],
            "turn": [1, 2, 1],
            "complexity": [2.0, None, 3.0],
            "quality": [4.0, 5.0, 6.0],
        }
    )
    sums = sum_turns(grades).rows()
    assert sums == [("a", None, None, 9.0, 2), ("b", 18.0, 3.0, 6.0, 1)]


def test_refused_groups_leave_rows_without_a_score(store: Store, monkeypatch: Any) -> None:
    def then(call: Any) -> Any:
        return Reply("", "refused") if 3 in numbers_in(call) else side_by_side(call)

    verdicts, grades, _ = judged(store, monkeypatch, then=then, together=1, threshold=12)
    evidence = verdicts.read()
    # Task 3 has no score; the others 6, 6, 10, 12, 12, 12, 12.
    assert evidence["score"].null_count() == 1 == grades.artifact.counts["ungraded"]
    assert evidence["keep"].to_list() == [False] * 3 + [True] * 5
    assert verdicts.artifact.counts["dropped"] == {"low_grade": 3}


def test_a_cut_moves_without_a_call(store: Store, monkeypatch: Any) -> None:
    judged(store, monkeypatch)
    verdicts, _, engine = judged(store, monkeypatch, drop=0.25)
    assert engine.calls == [] and verdicts.read()["keep"].sum() == 6


@pytest.mark.system
def test_a_recipe_selects_by_the_scores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiny: Path
) -> None:
    use(monkeypatch, [(lambda call: True, side_by_side)])
    lines = [json.dumps({"prompt": p, "completion": c}) for p, c in ROWS]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    recipe = {
        "name": "deita",
        "pool": [{"path": str(tmp_path / "pool.jsonl")}],
        "models": {"base": str(tiny)},
        "stages": [{"method": "deita"}],
        "select": {"method": "deita", "score": "deita.score", "threshold": 1, "budget": 4},
        "store": str(tmp_path / "store"),
    }
    run = run_curation(Config.model_validate(recipe), tmp_path / "run").folder
    ledger = pl.read_parquet(run / "ledger.parquet")
    assert sorted(ledger.filter(fate="selected")["row_id"]) == [
        f"pool/pool.jsonl:{k}" for k in range(5, 9)
    ]
    section = section_of(run, "deita")
    lowest = blocks_of(section, Item)[0]
    assert lowest.value == "6.00" and lowest.facts == ("complexity 1.00", "quality 6.00")


@pytest.mark.model
def test_the_real_model_gives_expected_grades(store: Store, smollm: Path) -> None:
    run = real_run(store, smollm)
    stage = {"kind": "deita", "expected": True, "together": 1, "engine": {"kind": "transformers"}}
    verdicts, _ = judge_stage(run, pool(run, ROWS[:2]), stage)
    evidence = verdicts.read()
    assert evidence["complexity"].is_between(1, 6, closed="none").all()
    assert evidence["score"].null_count() == 0


def test_votes_on_turns_that_stand_alone_are_refused() -> None:
    assert DeitaStage(votes=2).together == 6
    with pytest.raises(ValidationError, match="give `together` of 2 or more"):
        DeitaStage(votes=2, together=1)
