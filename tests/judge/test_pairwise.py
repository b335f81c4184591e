"""Preferences compared again: both orders, a judge of places, rows without a rejected response."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.calls import Table
from curate.core.store import Store
from curate.judge.pairwise import PairwiseStage
from curate.llm.grading import read_rubric
from curate.pipeline.curation import run_curation
from tests.conftest import row, stored_rows, turns
from tests.generate.scripted import Reply, ScriptedEngine, text_of, texts_of
from tests.judge.clearruns import EngineRun, judge_stage, use
from tests.report.sections import section_of, words_of_block

GOOD, BAD = "Paris", "a potato"


def answer(call: Any) -> Any:
    """Prefer the good response wherever it stands."""
    text = text_of(call)
    last = "B" if text.index(BAD) < text.index(GOOD) else "A"
    if call.request.schema and "better" in call.request.schema["properties"]:
        return json.dumps({"reason": "it is true", "better": last})
    return json.dumps({"answer": "A" if last == "B" else "B"})


def compared(
    store: Store, monkeypatch: Any, then: Any = answer, **params: Any
) -> tuple[list[Any], Table, ScriptedEngine]:
    engine = use(monkeypatch, [(lambda call: True, then)])
    question = "What is the capital of France?"
    other = [{"role": "assistant", "content": text} for text in (BAD, GOOD)]
    rows = [
        row("r0", turns(question, GOOD), rejected=other[:1]),
        row("r1", turns(question, BAD), rejected=other[1:]),
        row("r2", turns(question, GOOD)),
        row("r3", turns(question, GOOD), rejected=[*other[:1], *turns("Sure?", BAD)]),
        row("r4", turns(question, GOOD), rejected=other[1:]),
    ]
    run = EngineRun(store)
    table = stored_rows(store, "pool", rows)
    verdicts, prepared = judge_stage(run, table, {"kind": "pairwise", **params})
    evidence = verdicts.read().select("keep", "score", "reason").rows()
    return evidence, prepared["preferences"], engine


def test_rows_whose_rejected_response_is_better_go(store: Store, monkeypatch: Any) -> None:
    evidence, preferences, engine = compared(store, monkeypatch)
    assert [keep for keep, _, _ in evidence] == [True, False, True, True, True]
    scores = [score for _, score, _ in evidence]
    assert scores[:2] == pytest.approx([1.0, 0.0]) and scores[2:] == [None, None, 0.5]
    assert evidence[1][2] == "low_confidence"
    assert preferences.read()["reason"].to_list() == ["it is true", "it is true", None]
    # The same two responses the other way round are asked about once, equal ones not at all.
    assert len(engine.calls) == 6 and PairwiseStage().cost(2).calls == 12
    assert read_rubric("response").criteria[0].description in texts_of(engine.calls[0])[0]


def test_one_turn_is_not_compared_with_several(store: Store, monkeypatch: Any) -> None:
    engine = use(monkeypatch, [(lambda call: True, answer)])
    talk = [*turns("Capital of France?", BAD), *turns("Sure?", BAD)]
    early = json.dumps({"pair": {"chosen_turns": 3}})
    pool = stored_rows(store, "pool", [row("r0", talk, rejected=turns("", GOOD)[1:], meta=early)])
    verdicts, _ = judge_stage(EngineRun(store), pool, {"kind": "pairwise"})
    assert verdicts.read().select("keep", "score").rows() == [(True, None)]
    assert not engine.calls


def test_a_judge_of_places_is_undecided(store: Store, monkeypatch: Any) -> None:
    def first(call: Any) -> str:
        is_choice = "better" in call.request.schema["properties"]
        return '{"reason": "so", "better": "A"}' if is_choice else '{"answer": "A"}'

    evidence, _, _ = compared(store, monkeypatch, first)
    assert [score for _, score, _ in evidence[:2]] == pytest.approx([0.5, 0.5])
    assert all(keep for keep, _, _ in evidence)


def test_a_preference_without_an_answer_stays(store: Store, monkeypatch: Any) -> None:
    def then(call: Any) -> Any:
        # One order is not enough: the place would decide.
        text = text_of(call)
        return Reply("", "refused") if text.index(BAD) < text.index(GOOD) else answer(call)

    evidence, preferences, _ = compared(store, monkeypatch, then)
    assert evidence[1][:2] == (True, None)
    assert preferences.artifact.counts["undecided"] == 2


def test_the_threshold_moves_without_a_call(store: Store, monkeypatch: Any) -> None:
    compared(store, monkeypatch)
    evidence, _, engine = compared(store, monkeypatch, threshold=0.8)
    assert engine.calls == []
    assert [keep for keep, _, _ in evidence] == [True, False, True, True, False]


@pytest.mark.system
def test_a_whole_run_adds_up(tmp_path: Path, tiny: Path) -> None:
    lines = [{"prompt": f"q{i}", "chosen": f"a{i}", "rejected": f"b{i}"} for i in range(6)]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = {
        "name": "pairwise",
        "pool": [{"path": str(tmp_path / "pool.jsonl")}],
        "models": {"base": str(tiny), "dtype": "float32"},
        "stages": [{"method": "pairwise", "threshold": None, "drop": 0.4}],
        "select": {"method": "random", "budget": 2},
        "store": str(tmp_path / "store"),
    }
    run = run_curation(Config.model_validate(recipe), tmp_path / "run").folder
    evidence = pl.read_parquet(run / "evidence" / "pairwise.parquet")
    assert evidence["score"].null_count() < 6
    assert "in both orders" in words_of_block(section_of(run, "pairwise"))
