"""A scorer adapted to labels: it learns what they say, rows held out tell, nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.judge.adapted import CHECK, check_sentence, held_out
from curate.judge.scorer import ScorerStage
from tests.conftest import row, stored_rows, turns
from tests.judge.clearruns import EngineRun, judge_stage
from tests.selectors.test_scorer import LABELS, write_classifier

# Words that the tiny tokenizer knows.
RIGHT, WRONG = "w1 w2", "w3 w4"


def pool_and_labels(store: Store, folder: Path, rows: int = 60) -> tuple[Table, Path]:
    """Return rows that are wrong if their response says so, half of them labelled, and the labels."""
    rng = np.random.default_rng(0)
    right = rng.random(rows) < 0.5
    texts = [turns(f"w{10 + i % 7}", RIGHT if good else WRONG) for i, good in enumerate(right)]
    table = stored_rows(store, "pool", [row(f"r{i:03}", t) for i, t in enumerate(texts)])
    lines = [
        json.dumps({"row_id": f"r{i:03}", "correct": bool(right[i])}) for i in range(0, rows, 2)
    ]
    path = folder / "checked.jsonl"
    path.write_text("\n".join(lines))
    return table, path


@pytest.mark.parametrize("outputs", [{"num_labels": 1}, LABELS])
def test_it_learns_what_labels_say(store: Store, tmp_path: Path, outputs: dict[str, Any]) -> None:
    rows, labels = pool_and_labels(store, tmp_path)
    model = write_classifier(tmp_path / "model", "bert", **outputs)
    stage: dict[str, Any] = {"kind": "scorer", "model": str(model), "drop": 0.0}
    stage |= {"label": "good"} if outputs is LABELS else {}
    plain, _ = judge_stage(EngineRun(store), rows, stage)
    adapt = {"epochs": 8, "learning_rate": 3e-3}
    stage |= {"labels": {"path": str(labels)}, "adapt": adapt}
    verdicts, prepared = judge_stage(EngineRun(store), rows, stage)
    check = prepared[CHECK].read()
    assert check["rows"].to_list() == [6, 6] and check["auroc"][1] == 1
    (tuning,) = store.root.glob("adapt-scorer-*/manifest.json")
    assert json.loads(tuning.read_text())["counts"]["rows_in"] == 24, "a fifth of 30 is held out"
    # Rows without a label are told apart, too.
    responses = [m[-1]["content"] for m in rows.read()["messages"].to_list()]
    scores = verdicts.read()["score"].to_numpy()
    right = np.array([text == RIGHT for text in responses])
    assert scores[right].min() > scores[~right].max()
    before = plain.read()["score"].to_numpy()
    assert not before[right].min() > before[~right].max() or not np.allclose(before, scores)
    assert "It was tuned on labels. AUROC of the 6 labelled rows" in check_sentence(check)


def test_the_checkpoint_is_read_as_it_was_without_labels(store: Store, tmp_path: Path) -> None:
    rows, labels = pool_and_labels(store, tmp_path)
    model = write_classifier(tmp_path / "model", "roberta", num_labels=1)
    stage = {"kind": "scorer", "model": str(model), "drop": 0.0}
    first, _ = judge_stage(EngineRun(store), rows, stage)
    adapted = {**stage, "labels": {"path": str(labels)}, "adapt": {"learning_rate": 1e-2}}
    second, _ = judge_stage(EngineRun(store), rows, adapted)
    other = Store(tmp_path / "other")
    again, _ = judge_stage(EngineRun(other), pool_and_labels(other, tmp_path)[0], stage)
    assert again.read()["score"].equals(first.read()["score"])
    assert not second.read()["score"].equals(first.read()["score"])


def test_a_cut_moves_without_a_tuning(store: Store, tmp_path: Path) -> None:
    rows, labels = pool_and_labels(store, tmp_path)
    model = write_classifier(tmp_path / "model", "roberta", num_labels=1)
    stage = {"kind": "scorer", "model": str(model), "labels": {"path": str(labels)}}
    run = EngineRun(store)
    judge_stage(run, rows, {**stage, "drop": 0.1})
    before = len(run.executed_steps)
    judge_stage(run, rows, {**stage, "drop": 0.2})
    assert run.executed_steps[before:] == ["scorer"]


def test_a_tuning_that_diverges_is_told(store: Store, tmp_path: Path) -> None:
    rows, labels = pool_and_labels(store, tmp_path)
    model = write_classifier(tmp_path / "model", "roberta", num_labels=1)
    stage = {"kind": "scorer", "model": str(model), "labels": {"path": str(labels)}, "drop": 0.1}
    with pytest.raises(UserError, match=r"diverged; lower adapt\.learning_rate"):
        judge_stage(EngineRun(store), rows, {**stage, "adapt": {"learning_rate": 1e30}})


def test_a_fifth_is_held_out_by_its_ids() -> None:
    ids = pl.Series([f"r{i}" for i in range(50)])
    mask = held_out(ids)
    assert mask.sum() == 10
    assert held_out(ids.reverse()).reverse().equals(mask)


def test_too_few_held_out_rows_say_nothing() -> None:
    line = {"model": "after", "rows": 3, "wrong": 0, "auroc": None, "low": None, "high": None}
    check = pl.DataFrame([{**line, "model": "before"}, line])
    assert check_sentence(check) == (
        " It was tuned on labels. 3 labelled rows aside from that, 0 wrong: too few of a kind to say "
        "what the tuning did."
    )


def test_best_stands_for_a_cut() -> None:
    assert ScorerStage(model="m", best=1).best == 1
    with pytest.raises(ValidationError, match="give labels with it"):
        ScorerStage.model_validate({"model": "m", "best": 1, "adapt": {"epochs": 2}})
