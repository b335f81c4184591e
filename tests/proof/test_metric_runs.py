"""Whole runs with a tiny model: options planted in the eval set decide, and all metrics are reported."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.estimate.recipe import estimate
from curate.pipeline.curation import run_curation
from tests.conftest import small_proof

pytestmark = pytest.mark.system

QUESTION = "Which of them is number {i}?\nA) a red one\nB) a blue one\nC) none"
ANSWERS = ["A) a red one", "B) a blue one", "C) none"]


def config_of(folder: Path, tiny: Path, *, options: bool, **prove: Any) -> Config:
    for name, count in (("pool", 12), ("target", 3), ("eval", 6)):
        lines = [
            json.dumps(
                {
                    "prompt": QUESTION.format(i=f"{name}{i}") if options else f"{name}{i} of what?",
                    "response": ANSWERS[i % 3]
                    if options
                    else "It is as it is, and no other way. " * 3,
                }
            )
            for i in range(count)
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines))
    return small_proof(folder, tiny, **{"written": 0, **prove})


@pytest.fixture(scope="module")
def run(tiny: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None) -> Path:
    folder = tmp_path_factory.mktemp("metrics")
    run_curation(config_of(folder, tiny, options=True, metric="gold_margin"), folder / "out")
    return folder / "out"


def test_the_chosen_metric_decides_and_all_others_stand_beside_it(run: Path) -> None:
    proof = orjson.loads((run / "proof.json").read_bytes())
    assert proof["metric"] == proof["spread"]["metric"] == "gold_margin"
    assert proof["questions"]["options"] == proof["questions"]["measured"]["accuracy"] == 6
    verdicts = {c["metric"]: c["verdict"] for c in proof["comparisons"]}
    assert next(iter(verdicts)) == "gold_margin"
    assert {*verdicts} == {
        "gold_margin", "loss", "exact_match", "loss_per_token", "answer_loss", "rest_loss",
        "accuracy", "raw_accuracy",
    }  # fmt: skip
    assert {name for name, verdict in verdicts.items() if verdict} == {"gold_margin"}
    assert "in nats per token" in proof["sentence"]


def test_the_figures_are_the_means_of_what_was_measured(run: Path) -> None:
    proof = orjson.loads((run / "proof.json").read_bytes())
    effects = pl.read_parquet(run / "evidence/proof-effects.parquet")
    base = effects.filter(arm="base")
    arm = next(arm for arm in proof["arms"] if arm["arm"] == "base")
    tokens = base["response_tokens"]
    assert arm["loss_per_token"] == pytest.approx(sum(base["loss"] * tokens) / sum(tokens))
    assert arm["gold_margin"] == pytest.approx(base["gold_margin"].mean())
    assert arm["gold_margin"] < -math.log(3) / 2


def test_the_page_shows_every_metric_and_how_many_examples_have_it(run: Path) -> None:
    page = (run / "report/index.html").read_text()
    for label in ("Margin of the right option", "Loss of the answer", "Loss per token", "Accuracy"):
        assert label in page
    assert "6 of 6 eval examples have options, from a list in the prompt" in page


def test_check_tells_the_cost_of_options_and_refuses_what_cannot_be_measured(
    tiny: Path, tmp_path: Path
) -> None:
    lines = {line.stage: line for line in estimate(config_of(tmp_path, tiny, options=True))}
    assert lines["proof: options"].rows == 6
    assert lines["proof: options"].tokens > 0
    without = config_of(tmp_path, tiny, options=False, metric="accuracy")
    with pytest.raises(UserError, match=r"prove\.metric: accuracy cannot be measured"):
        estimate(without)
    with pytest.raises(UserError, match=r"prove\.metric: accuracy cannot be measured"):
        run_curation(without, tmp_path / "out")
    assert not list((tmp_path / "store").glob("finetune-*"))
    plain = config_of(tmp_path, tiny, options=False)
    assert "proof: options" not in {line.stage for line in estimate(plain)}
