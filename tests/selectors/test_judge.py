"""A language model as judge, by a scripted engine: votes, failures, ties, keys; once by the real one."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.core.keyed import EngineSource
from curate.core.store import Store
from curate.llm.engines.parameters import TransformersParams
from curate.selectors.judge import JudgeSelector
from tests.conftest import row, turns
from tests.generate.scripted import Reply, ScriptedEngine, answer_schema, text_of, texts_of
from tests.selectors.poolruns import PoolRun, make_run

GRADES = {"good": 5, "fair": 3, "bad": 1}


@dataclass
class JudgedRun(PoolRun):
    """A run with an engine."""

    def engine(self, params: Any) -> EngineSource:
        models = {"base": str(self.folder) if self.folder else "smollm2-135m", "dtype": "float32"}
        cache = self.store.root / "completions.sqlite"
        settings = params.model_dump(mode="json")
        return EngineSource({"engine": "scripted"}, settings, models, cache)


def judged(store: Store, answers: list[str], dropped: tuple[str, ...] = ()) -> JudgedRun:
    rows = [row(f"r{i}", turns(f"Question {i}?", a)) for i, a in enumerate(answers)]
    pool_run = make_run(store, rows, dropped)
    run = JudgedRun(store)
    run.rows, run.kept, run.tokens = pool_run.rows, pool_run.kept, pool_run.tokens
    return run


def grade(call: Any) -> str:
    text = text_of(call)
    value = next(value for name, value in GRADES.items() if f"{name} answer" in text)
    return json.dumps({"reason": f"it is {value}", "score": value})


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> ScriptedEngine:
    scripted = ScriptedEngine([(lambda call: True, grade)])
    monkeypatch.setattr("curate.llm.engines.load_engine", lambda params, models: scripted)
    return scripted


def judge(**settings: Any) -> JudgeSelector:
    return JudgeSelector.model_validate({"budget": {"rows": 1}, **settings})


def table(run: JudgedRun, selector: JudgeSelector) -> pl.DataFrame:
    return selector.score_rows(run).read()


def test_rows_are_graded_and_ranked(store: Store, engine: ScriptedEngine) -> None:
    answers = ["a bad answer", "a good answer", "a fair answer", "a good answer"]
    run = judged(store, answers, dropped=("r2",))
    scores = table(run, judge())
    assert scores.select("row_id", "score", "told").rows() == [
        ("r0", 1.0, "it is 1"), ("r1", 5.0, "it is 5"), ("r3", 5.0, "it is 5")
    ]  # fmt: skip
    assert scores["row_id"].gather(judge().rank(scores, 0)).to_list() == ["r1", "r3", "r0"]
    texts = texts_of(engine.calls[0])
    assert "from 1 (worst) to 5 (best)" in texts[0]
    assert "Question 0?" in texts[1]
    assert "a bad answer" in texts[1]


def test_the_score_is_the_mean_of_the_votes_that_are_of_use(
    store: Store, engine: ScriptedEngine
) -> None:
    answers = [
        '{"reason": "x", "score": 2}',
        "no JSON",
        "none",
        "again none",
        '{"reason": "y", "score": 5}',
    ]
    engine.rules = [(lambda call: True, answers)]
    scores = table(judged(store, ["an answer"]), judge(votes=3))
    assert scores["score"].to_list() == [pytest.approx((2 + 5 + 5) / 3)]
    assert scores["reason"].to_list() == [None]


def test_a_row_without_a_grade_comes_last_and_says_why(
    store: Store, engine: ScriptedEngine
) -> None:
    engine.rules = [("bad answer", Reply("", "refused")), (lambda call: True, grade)]
    scores = table(judged(store, ["a bad answer", "a fair answer"]), judge())
    assert scores["score"].to_list() == [None, 3.0]
    assert scores["reason"].to_list() == ["the model refused", None]
    assert scores["row_id"].gather(judge().rank(scores, 0)).to_list() == ["r1", "r0"]


def test_a_scale_of_its_own_and_grades_beyond_it(store: Store, engine: ScriptedEngine) -> None:
    engine.rules = [(lambda call: True, '{"reason": "r", "score": 9}')]
    assert table(judged(store, ["a good answer"]), judge())["score"].to_list() == [None]
    assert table(judged(store, ["a good answer"]), judge(high=10))["score"].to_list() == [9.0]
    expected = {"type": "integer", "minimum": 1, "maximum": 10}
    assert answer_schema(engine.calls[-1])["properties"]["score"] == expected


def test_answers_are_kept_whatever_else_is_judged(store: Store, engine: ScriptedEngine) -> None:
    answers = ["a bad answer", "a good answer"]
    table(judged(store, answers), judge())
    assert len(engine.calls) == 2
    table(judged(store, answers), judge(budget={"rows": 2}))
    assert len(engine.calls) == 2
    table(judged(store, ["a fair answer", *answers], dropped=("r0",)), judge())
    texts = [text_of(call) for call in engine.calls]
    assert len(texts) == len(set(texts)), "the same text is asked about once"


def test_equal_rows_get_equal_grades_wherever_they_stand(
    store: Store, engine: ScriptedEngine
) -> None:
    one = judged(store, ["a bad answer", "a good answer"])
    table(one, judge(votes=2))
    assert [c.request.sampling.seed for c in engine.calls[:2]] == [
        engine.calls[0].sampling.seed
    ] * 2


@pytest.mark.model
def test_the_real_model_grades_within_the_scale(store: Store, smollm: Path) -> None:
    run = judged(store, ["The sky is blue.", "It is four."])
    run.folder = smollm
    scores = table(run, judge(engine=TransformersParams(), high=3))
    grades = scores["score"].drop_nulls().to_list()
    assert grades
    assert all(1 <= grade <= 3 for grade in grades)
