"""Methods proved in one run: controls are trained once, the level is divided among the methods."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from curate.proof.watch import watched_sentences
from curate.report.data import gather
from tests.conftest import turns

pytestmark = pytest.mark.system

DRAWS, SEEDS, PAIRED = 4, 2, 3


def recipe(root: Path, model: Path, **prove: Any) -> dict[str, Any]:
    words = ("river", "colour", "number", "city", "tree")
    texts = {
        "pool": [
            turns(f"A {words[i % 5]} {i}?", f"It is {f'{words[i % 5]} ' * (1 + i % 7)}{i}.")
            for i in range(40)
        ],
        "target": [turns("A river, please", "It is river")],
        "eval": [turns(f"Which {words[i % 5]} then", f"It was {i}") for i in range(4)],
    }
    for name, rows in texts.items():
        lines = [json.dumps({"messages": messages}) for messages in rows]
        (root / f"{name}.jsonl").write_text("\n".join(lines))
    lora = {"max_length": 64, "epochs": 1, "rank": 2, "batch_rows": 4}
    return {
        "name": "together",
        "pool": {"path": str(root / "pool.jsonl"), "source": "pool"},
        "target": {"path": str(root / "target.jsonl"), "eval": str(root / "eval.jsonl")},
        "models": {"base": str(model), "dtype": "float32"},
        "select": {"method": "bm25", "budget": 8},
        "prove": {"draws": DRAWS, "seeds": SEEDS, "lora": lora, **prove},
        "store": str(root / "store"),
    }


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store all tests fill: none trains again what another one has trained."""
    return tmp_path_factory.mktemp("together")


def run(root: Path, given: dict[str, Any], name: str = "run") -> tuple[RunResult, dict[str, Any]]:
    result = run_curation(Config.model_validate(given), root / name)
    return result, {stage["stage"]: stage for stage in result.manifest["stages"]}


def test_methods_are_judged_together_and_share_their_controls(shared: Path, tiny: Path) -> None:
    (shared / "watch.jsonl").write_text(
        "\n".join(json.dumps({"messages": turns(f"Keep {i}", f"Kept {i}")}) for i in range(4))
    )
    given = recipe(shared, tiny, compare=True, watch=str(shared / "watch.jsonl"))
    given |= {"compare": ["dsir", "length"]}
    result, stages = run(shared, given, "judged")
    proof = result.proof
    assert proof is not None
    assert [line["method"] for line in proof["methods"]] == ["bm25", "dsir", "length"]
    assert proof["judged"] == 3
    assert proof["alpha"] == pytest.approx(0.05 / 3)
    assert "because 3 selections share the level" in proof["sentence"]
    assert proof["sentence"].endswith(
        "Judged together: "
        + "; ".join(f"{m['method']} {m['verdict']}" for m in proof["methods"])
        + "."
    )
    assert stages["finetune"]["steps"] <= DRAWS + 2 * PAIRED + 3 * SEEDS
    assert pl.read_parquet(result.folder / "evidence/proof-effects.parquet").height > 0
    reported = gather(result.folder).proof
    assert reported is not None
    assert [method.name for method in reported.methods] == ["bm25", "dsir", "length"]
    by_method = [(method, line.source) for method, line in reported.watched_by_method]
    assert by_method == [(name, "watch") for name in ("bm25", "dsir", "length")]
    assert watched_sentences(proof)[1].startswith("dsir: watch: ")


def test_a_second_method_finds_the_controls_in_the_store(tmp_path: Path, tiny: Path) -> None:
    _, first = run(tmp_path, recipe(tmp_path, tiny))
    other = recipe(tmp_path, tiny) | {"select": {"method": "length", "budget": 8}}
    _, second = run(tmp_path, other, "other")
    assert first["finetune"]["cached"] == 0
    trained = second["finetune"]["steps"] - second["finetune"]["cached"]
    assert trained <= SEEDS + PAIRED
    assert second["finetune"]["cached"] >= DRAWS


def test_judging_compared_methods_needs_some(tmp_path: Path, tiny: Path) -> None:
    with pytest.raises(ValueError, match="needs methods to judge: give `compare`"):
        Config.model_validate(recipe(tmp_path, tiny, compare=True))


def test_compared_methods_are_not_judged_unless_that_is_asked_for(shared: Path, tiny: Path) -> None:
    result, _ = run(shared, recipe(shared, tiny) | {"compare": ["dsir"]}, "compared")
    assert result.proof is not None
    assert "methods" not in result.proof
    assert result.proof["judged"] == 1


def test_methods_judged_together_keep_the_adapter_of_the_first(shared: Path, tiny: Path) -> None:
    given = recipe(shared, tiny, compare=True, keep=True, draws=2, seeds=1, written=2)
    result, _ = run(shared, given | {"compare": ["dsir"]}, "kept")
    kept = {path.name for path in (result.folder / "export/adapter").iterdir()}
    assert kept == {"adapter_config.json", "adapter_model.safetensors"}
