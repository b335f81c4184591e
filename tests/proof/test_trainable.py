"""A proof that can train nothing or score nothing says so, and is not within any range."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.report.data import gather
from tests.commandline import curate
from tests.conftest import turns

pytestmark = pytest.mark.system


def recipe(
    root: Path, model: Path, pool: list[Any], held_out: list[Any], **more: Any
) -> dict[str, Any]:
    for name, rows in {"pool": pool, "target": [turns("t", "t")], "eval": held_out}.items():
        lines = [json.dumps({"messages": messages}) for messages in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    lora = {"max_length": 64, "epochs": 1, "rank": 2, "batch_rows": 8}
    return {
        "name": "short",
        "pool": {"path": str(root / "pool.jsonl"), "source": "pool"},
        "target": {"path": str(root / "target.jsonl"), "eval": str(root / "eval.jsonl")},
        "models": {"base": str(model), "dtype": "float32"},
        "select": {"method": "random", "budget": 4},
        "prove": {"draws": 2, "seeds": 1, "lora": lora},
        "store": str(root / "store"),
        **more,
    }


def short(count: int, word: str) -> list[Any]:
    return [turns(f"{word} {i}", f"reply {i}") for i in range(count)]


def long(count: int, word: str) -> list[Any]:
    """Return rows whose prompts share no run of words with those of another word."""
    text = " ".join(f"{word}{k}" for k in range(60))
    return [turns(f"{i} {text}", f"reply {i}") for i in range(count)]


@pytest.mark.parametrize(
    ("pool", "held_out", "said"),
    [
        (long(6, "row"), short(4, "ask"), "none of the 4 rows of the selection has a response"),
        (short(6, "row"), long(4, "ask"), "none of the 4 eval examples has a response"),
    ],
    ids=["rows", "examples"],
)  # fmt: skip
def test_without_a_step_or_a_scored_example_verdict_and_report_say_not_measured(
    tmp_path: Path, tiny: Path, pool: list[Any], held_out: list[Any], said: str
) -> None:
    config = Config.model_validate(recipe(tmp_path, tiny, pool, held_out))
    result = run_curation(config, tmp_path / "run")
    assert result.proof is not None
    assert result.proof["verdict"] == "not measured"
    assert result.proof["sentence"].startswith("Not measured: ")
    assert said in result.proof["sentence"]
    assert not list((tmp_path / "store").glob("*selected*"))
    proof = gather(result.folder).proof
    assert proof is not None
    assert proof.verdict == "not measured"
    assert "Not measured" in (result.folder / "report/index.html").read_text()


@pytest.mark.parametrize(("lost", "level"), [(1, logging.INFO), (3, logging.WARNING)])
def test_rows_and_examples_without_a_label_are_told_before_the_fine_tunes(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture, lost: int, level: int
) -> None:
    caplog.set_level(logging.INFO, "curate")
    pool = [*short(30 - lost, "row"), *long(lost, "row")]
    held_out = [*short(30 - lost, "ask"), *long(lost, "ask")]
    select = {"method": "random", "budget": 30}
    config = Config.model_validate(recipe(tmp_path, tiny, pool, held_out, select=select))
    result = run_curation(config, tmp_path / "run")
    messages = [(record.levelno, record.message) for record in caplog.records]
    for what in ("rows of the selection have", "eval examples have"):
        places = [
            i for i, (_, text) in enumerate(messages) if f"{lost} of 30 {what} no resp" in text
        ]
        assert [messages[i][0] for i in places] == [level]
        tuned = next(i for i, (_, text) in enumerate(messages) if text.startswith("proof: 3 fine"))
        assert places[0] < tuned
    assert result.proof is not None
    counted = {line["name"]: line["unlabelled"] for line in result.proof["labels"]}
    assert counted["selected"] == counted["eval"] == lost


def test_the_command_line_says_not_measured(tmp_path: Path, tiny: Path) -> None:
    given = recipe(tmp_path, tiny, long(6, "row"), short(4, "ask"))
    (tmp_path / "recipe.yaml").write_bytes(orjson.dumps(given))
    done = curate("run", "recipe.yaml", "--out", "r", folder=tmp_path)
    assert done.returncode == 2, done.stderr
    assert "verdict  Not measured: none of the 4 rows" in done.stdout
