"""Rubric: weights, votes, scales, cuts that move, rows without a grade; once by the real model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table
from curate.core.cut import CutParams, cut_rows
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.stage import StageData
from curate.core.store import Store
from curate.judge.rubric import RubricStage
from curate.llm.grading import RUBRICS, Rubric, read_rubric, schema_of
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of, texts_of
from tests.judge.clearruns import EngineRun, judge_stage, pool, real_run, use

ROWS = [("What is 2 + 2?", "4"), ("And 3 + 3?", "7"), ("Name a river.", "Potato.")]
# Of correct (weight 3), complete and clear (1 each).
NUMBERS = {"4": (5, 5, 4), "7": (1, 4, 5), "Potato.": (1, 1, 2)}
GRADES = [(15 + 5 + 4) / 5, (3 + 4 + 5) / 5, (3 + 1 + 2) / 5]


def vote(
    numbers: tuple[int, ...], names: tuple[str, ...] = ("correct", "complete", "clear")
) -> str:
    scores = {n: {"reason": f"{n} is {v}", "score": v} for n, v in zip(names, numbers, strict=True)}
    return json.dumps(scores)


def grader(call: Any) -> str:
    return vote(NUMBERS[text_of(call).rsplit("Response:\n", 1)[1]])


def judged(
    store: Store, monkeypatch: Any, rules: list[tuple[Any, Any]] | None = None, **params: Any
) -> tuple[Table, Table, ScriptedEngine]:
    engine = use(monkeypatch, rules or [(lambda call: True, grader)])
    run = EngineRun(store)
    verdicts, prepared = judge_stage(run, pool(run, ROWS), {"kind": "rubric", **params})
    return verdicts, prepared["grades"], engine


def test_the_grade_is_the_weighted_mean_and_the_rubric_has_its_threshold(
    store: Store, monkeypatch: Any
) -> None:
    verdicts, grades, engine = judged(store, monkeypatch)
    assert grades.read()["grade"].to_list() == pytest.approx(GRADES)
    evidence = verdicts.read()
    assert evidence["score"].to_list() == pytest.approx(GRADES)
    assert evidence["keep"].to_list() == [True, False, False]
    assert evidence["reason"].to_list() == [None, "low_grade", "low_grade"]
    assert evidence["threshold"].to_list() == [3.0] * 3
    assert verdicts.artifact.counts["dropped"] == {"low_grade": 2}
    first = grades.read()["criteria"].to_list()[1]
    assert first[0] == {"criterion": "correct", "grade": 1.0, "reason": "correct is 1"}
    assert len(engine.calls) == 3 * 3
    assert grades.artifact.counts["llm"]["calls"] == 9
    assert grades.artifact.counts["llm"]["tokens"] > 0


def test_prompts_name_criteria_and_scale_and_the_reason_comes_first(
    store: Store, monkeypatch: Any
) -> None:
    _, _, engine = judged(store, monkeypatch)
    system, prompt = texts_of(engine.calls[0])
    rubric = read_rubric("response")
    assert all(f"- {c.name}: {c.description}" in system for c in rubric.criteria)
    assert "from 1 (worst) to 5 (best)" in system
    assert prompt == "Prompt:\nWhat is 2 + 2?\n\nResponse:\n4"
    for form in answer_schema(engine.calls[0])["properties"].values():
        assert list(form["properties"]) == ["reason", "score"]


def test_votes_are_averaged_and_useless_ones_left_out(store: Store, monkeypatch: Any) -> None:
    replies = [vote((5, 5, 5)), Reply("", "refused"), vote((1, 1, 1))]
    rules = [("Potato.", replies), (lambda call: True, grader)]
    _, grades, _ = judged(store, monkeypatch, rules)
    last = grades.read().row(2, named=True)
    assert (last["grade"], last["spread"], last["votes"]) == (3.0, 2.0, 2)
    assert last["criteria"][0]["reason"] == "correct is 5"


def test_a_row_without_a_grade_stays_and_the_table_says_why(store: Store, monkeypatch: Any) -> None:
    rules = [("Potato.", Reply("", "refused")), (lambda call: True, grader)]
    verdicts, grades, _ = judged(store, monkeypatch, rules, drop=0.5)
    last = verdicts.read().row(2, named=True)
    assert (last["keep"], last["score"], last["reason"]) == (True, None, None)
    assert grades.read()["why"].to_list() == [None, None, "the model refused"]
    assert grades.artifact.counts["ungraded"] == 1
    assert verdicts.read()["keep"].to_list() == [True, False, True], "half of two"


def test_a_cut_moves_without_a_call(store: Store, monkeypatch: Any) -> None:
    _, _, engine = judged(store, monkeypatch)
    before = len(engine.calls)
    cuts: list[tuple[dict[str, Any], int]] = [
        ({"threshold": 2.0}, 2),
        ({"drop": 0.34}, 2),
        ({"drop": 0.3}, 3),
    ]
    for given_, kept in cuts:
        verdicts, _, again = judged(store, monkeypatch, **given_)
        assert verdicts.artifact.counts["rows_out"] == kept
        assert again.calls == []
    assert before == 9
    assert RubricStage.rethresholdable == ("threshold", "drop")


def test_a_rubric_of_ones_own(store: Store, monkeypatch: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(
        "criteria: [{name: polite, description: It is polite.}]\nlow: 0\nhigh: 3\n", "utf-8"
    )
    rules = [(lambda call: True, '{"reason": "so", "score": 2}')]
    verdicts, grades, engine = judged(store, monkeypatch, rules, rubric=str(path), votes=1)
    assert verdicts.read()["score"].to_list() == [2.0] * 3
    assert verdicts.artifact.counts["rows_out"] == 3, "it names no threshold"
    assert "It is polite." in texts_of(engine.calls[0])[0]
    criterion = Table(grades.artifact, "criteria").read().row(0, named=True)
    assert (criterion["name"], criterion["high"], criterion["threshold"]) == ("polite", 3, None)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("criteria: []", "criteria: .*at least 1"),
        ("criteria: [{name: a, description: b}, {name: a, description: c}]", "two criteria are"),
        ("criteria: [{name: a, description: b, wieght: 2}]", "did you mean 'weight'"),
        ("criteria: [{name: A b, description: b}]", "criteria.0.name"),
        ("{criteria: [{name: a, description: b}], low: 5, high: 5}", "high 5 is not above low 5"),
        ("{criteria: [{name: a, description: b}], threshold: 9}", "not on the scale from 1 to 5"),
        ("criteria: [", "not valid YAML"),
        ("just a text", "mine.yaml: "),
    ],
)
def test_a_rubric_at_fault_is_named_with_its_place(tmp_path: Path, text: str, match: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    with pytest.raises(UserError, match=match):
        read_rubric(str(path))


def test_a_rubric_that_is_not_there_names_ours() -> None:
    with pytest.raises(UserError, match="one of ours: response"):
        read_rubric("nowhere.yaml")
    with pytest.raises(UserError, match="there is no file"):
        read_rubric("../grading")


def test_our_rubrics_are_sound_and_small_enough() -> None:
    for path in RUBRICS.glob("*.yaml"):
        rubric = read_rubric(path.stem)
        assert rubric.threshold is not None
        assert len(json.dumps(schema_of(rubric))) < 2_000


def test_threshold_and_drop_exclude_each_other() -> None:
    with pytest.raises(ValueError, match="give threshold or drop, not both"):
        RubricStage(threshold=2.0, drop=0.1)


SCORES = st.lists(st.one_of(st.none(), st.sampled_from([1.0, 2.0, 2.5, 4.0])), max_size=30)


@given(SCORES, st.sampled_from([0.0, 0.1, 0.25, 0.3, 0.5, 0.9]))
def test_a_share_is_never_exceeded_and_equal_scores_share_their_fate(
    scores: list[float | None], share: float
) -> None:
    frame = pl.DataFrame(
        {"row_id": [f"r{i}" for i in range(len(scores))],
         "score": pl.Series(scores, dtype=pl.Float64)},
        schema={"row_id": pl.String, "score": pl.Float64},
    )  # fmt: skip
    verdicts = cut_rows(StageData(frame.lazy()), frame, CutParams(drop=share), Reason.LOW_GRADE)
    given_ = [s for s in scores if s is not None]
    dropped = verdicts.filter(~pl.col("keep"))["score"].to_list()
    assert len(dropped) <= share * len(given_) + 1e-9
    assert verdicts.height == len(scores)
    kept = verdicts.filter("keep")["score"].drop_nulls().to_list()
    assert not set(kept) & set(dropped)
    assert max(dropped, default=-1.0) < min(kept, default=9.0)
    # No larger cut would do: the next score up would drop too many.
    worst = [s for s in given_ if kept and s <= min(kept)]
    if kept:
        assert len(worst) > share * len(given_) - 1e-9


@pytest.mark.model
def test_the_real_model_fills_a_rubric(store: Store, smollm: Path, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    names = {"correct": "The response is true.", "polite": "The response is polite."}
    criteria = ", ".join(f"{{name: {n}, description: {d}}}" for n, d in names.items())
    path.write_text(f"criteria: [{criteria}]\nhigh: 3\n", "utf-8")
    run = real_run(store, smollm)
    stage = {"kind": "rubric", "rubric": str(path), "votes": 1, "engine": {"kind": "transformers"}}
    verdicts, prepared = judge_stage(run, pool(run, ROWS[:2]), stage)
    grades = prepared["grades"].read().drop_nulls("grade")
    assert grades.height >= 1
    assert grades["grade"].is_between(1, 3).all()
    for row in grades["criteria"].to_list():
        assert [c["criterion"] for c in row] == list(names)
    assert verdicts.artifact.counts["rows_out"] == 2


def test_rubrics_are_plain_values() -> None:
    assert Rubric.model_validate(read_rubric("response").model_dump()) == read_rubric("response")
