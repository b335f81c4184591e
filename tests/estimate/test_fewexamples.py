"""A verdict that will say little is told before it is paid for: on few examples, of all rows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from curate.config.recipe import Config
from curate.estimate.recipe import estimate

SINGLE = "; it is measured on a single example: whether it holds for others is not known"
PAIRS = [{"prompt": f"Add {i}.", "chosen": f"{i + 1}", "rejected": "no"} for i in range(10)]
PLAIN = [{"prompt": f"Say {i}.", "completion": f"{i}"} for i in range(10)]
QUESTIONS = [
    {"prompt": f"What is {i}?\n\nA) one\nB) two\nC) three", "completion": "B"} for i in range(10)
]
DPO = {"objective": "dpo"}


def write(path: Path, rows: list[dict[str, str]]) -> str:
    path.write_text("\n".join(map(json.dumps, rows)))
    return str(path)


@pytest.fixture
def task(tmp_path: Path) -> str:
    Dataset.from_list(PLAIN).to_parquet(tmp_path / "task.parquet")
    path = tmp_path / "task.yaml"
    path.write_text(
        "task: say\ndataset_path: parquet\n"
        f"dataset_kwargs: {{data_files: {{test: {tmp_path / 'task.parquet'}}}}}\n"
        "test_split: test\noutput_type: loglikelihood\n"
        'doc_to_text: "{{prompt}}"\ndoc_to_target: "{{completion}}"\nmetric_list: [{metric: acc}]\n'
    )
    return str(path)


@pytest.mark.parametrize(
    ("eval_rows", "prove", "words"),
    [
        (PLAIN[:1], {}, SINGLE),
        (PLAIN[:5], {}, ""),
        ([*PAIRS[:1], *PLAIN], DPO, SINGLE),
        (PAIRS[:5], DPO, ""),
        ([*PAIRS[:1], *PLAIN], {**DPO, "metric": "loss"}, ""),
        (PLAIN, {"metric": {"generate": "number", "examples": 2}}, "on 2 examples"),
        ([*QUESTIONS[:1], *PLAIN], {"metric": "accuracy"}, SINGLE),
        (QUESTIONS[:5], {"metric": "accuracy"}, ""),
    ],
)
def test_few_examples_to_measure_by_are_told_beforehand(
    tmp_path: Path, tiny: Path, eval_rows: list[dict[str, str]], prove: dict[str, Any], words: str
) -> None:
    does = measure_line(tmp_path, tiny, eval_rows, prove)
    assert words in does
    assert ("it is measured on" in does) == bool(words)


def test_examples_of_tasks_are_not_those_of_the_eval_set(
    tmp_path: Path, tiny: Path, task: str
) -> None:
    pytest.importorskip("lm_eval", reason="the package is of the extra `eval`, not of `dev`")
    prove = {"metric": "lm_eval", "tasks": [task]}
    assert "it is measured on" not in measure_line(tmp_path, tiny, PLAIN[:1], prove)


@pytest.mark.parametrize(("budget", "is_said"), [(20, True), (99, True), (19, False)])
def test_a_budget_of_every_row_is_told_to_show_nothing(
    tmp_path: Path, tiny: Path, budget: int, is_said: bool
) -> None:
    lines = proof_lines(tmp_path, tiny, PLAIN, {}, budget)
    assert ("lower the budget" in lines["proof: tune"]) == is_said


def measure_line(
    folder: Path, model: Path, eval_rows: list[dict[str, str]], prove: dict[str, Any]
) -> str:
    """Return what a check says of the measurement of a proof."""
    return proof_lines(folder, model, eval_rows, prove, 8)["proof: measure"]


def proof_lines(
    folder: Path, model: Path, eval_rows: list[dict[str, str]], prove: dict[str, Any], budget: int
) -> dict[str, str]:
    """Return what a check says of a proof, by lines."""
    recipe = {
        "name": "few",
        "pool": write(folder / "p.jsonl", [*PAIRS, *PLAIN]),
        "target": {
            "path": write(folder / "t.jsonl", [{"prompt": "Hi.", "completion": "Hello."}]),
            "eval": write(folder / "e.jsonl", eval_rows),
        },
        "models": {"base": str(model), "embedder": "static"},
        "select": {"method": "bm25", "budget": budget},
        "prove": {"draws": 3, "written": 0, **prove},
    }
    return {line.stage: line.does for line in estimate(Config.model_validate(recipe))}
