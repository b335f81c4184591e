"""Tasks of lm-evaluation-harness, taken in memory: an item is an example. They need curate[eval]."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.store import Store
from curate.proof import harness
from curate.proof.harness import file_digests, read_tasks
from curate.proof.settings import ProofSettings
from tests.conftest import StoreRun, stored_table
from tests.models.test_finetune import tuned

without = pytest.mark.skipif(find_spec("lm_eval") is None, reason="lm-eval is not installed")
RESULTS = pl.DataFrame({"eval_id": ["e0"], "loss": [0.5], "exact": [False], "response_tokens": [3]})


def task_of(folder: Path) -> dict[str, Any]:
    docs = [{"q": f"{i} + {i} =", "options": [str(2 * i), "x", "none"]} for i in range(6)]
    (folder / "sums.jsonl").write_text("\n".join(json.dumps(doc) for doc in docs))
    return {
        "task": "sums",
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(folder / "sums.jsonl")}},
        "test_split": "test",
        "output_type": "multiple_choice",
        "doc_to_text": "{{q}}",
        "doc_to_choice": "{{options}}",
        "doc_to_target": 0,
        "metric_list": [{"metric": "acc", "aggregation": "mean", "higher_is_better": True}],
    }


@pytest.mark.system
@without
def test_every_item_of_a_task_is_an_example_beside_the_eval_set(
    store: Store, tiny: Path, tmp_path: Path
) -> None:
    (tmp_path / "task.yaml").write_text(yaml.safe_dump(task_of(tmp_path)))
    tasks = read_tasks([str(tmp_path / "task.yaml")])
    measured = stored_table(store, "results", RESULTS)
    run, model = StoreRun(store), ModelSource({"dtype": "float32"}, tiny)
    tables = []
    for one in (None, tuned(store, tiny, ["r0", "r3", "r5"])):
        call = harness.results.call(measured, tasks, file_digests(tasks), model, one)
        tables.append(run.result(call).read())
        assert run.result(call).artifact.cached
    for table in tables:
        assert table["eval_id"].to_list() == ["e0", *(f"sums/{i}" for i in range(6))]
        assert table["loss"].to_list() == [0.5, *[None] * 6]
        assert set(table["lm_eval"].drop_nulls()) <= {0.0, 1.0} and table["lm_eval"].count() == 6


def test_without_the_harness_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"needs the package lm-eval.*curate-data\[eval\]"):
        read_tasks(["arc_easy"])


def test_tasks_at_fault_name_their_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harness, "find_spec", lambda name: object())
    (tmp_path / "bad.yaml").write_text("[1]")
    task = task_of(tmp_path)
    (tmp_path / "sums.jsonl").unlink()
    for one, fault in (
        (str(tmp_path / "none.yaml"), "cannot be read"),
        (str(tmp_path / "bad.yaml"), "has a name"),
        ({"dataset_path": "json"}, "has a name"),
        (task, "there is no file"),
    ):
        with pytest.raises(UserError, match=rf"prove\.tasks\.1: .*{fault}"):
            read_tasks(["arc_easy", one])


def test_tasks_and_their_metric_go_together() -> None:
    for settings in ({"metric": "lm_eval"}, {"tasks": ["arc_easy"]}):
        with pytest.raises(ValidationError, match="tasks goes with"):
            ProofSettings.model_validate(settings)
