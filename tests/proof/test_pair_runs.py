"""Whole proofs by pairs with a tiny model: quiet answers are preferred to loud ones, on held-out pairs.

Pairs about rivers say so, pairs about stones the opposite. A selection by the words of river questions
has the former alone, a random draw both, so that training on the selection, and on no draw, teaches it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.proof.earnings import EMPTY
from curate.report.data import gather
from tests.commandline import CommandResult, curate

pytestmark = pytest.mark.system

LORA = {"epochs": 4, "rank": 4, "learning_rate": 5e-3}


def pair(kind: str, number: int, *, quiet: bool = True) -> dict[str, str]:
    answer = f"{kind} number {number} it is"
    chosen, rejected = (answer, answer.upper()) if quiet else (answer.upper(), answer)
    return {"prompt": f"Which {kind} is {number}?", "chosen": chosen, "rejected": rejected}


def recipe(folder: Path, tiny: Path, plain: int = 0, **prove: Any) -> dict[str, Any]:
    """Return a recipe; so many of the rows about rivers are no pairs."""
    rivers = [pair("river", i) for i in range(10)]
    for row in rivers[:plain]:
        del row["rejected"]
    stones = [pair("stone", i, quiet=False) for i in range(20)]
    examples = {
        "pool": [*rivers, *stones],
        "target": [{"prompt": f"Which river is t{i}?", "response": "river"} for i in range(3)],
        "eval": [pair("lake", i) for i in range(8)],
    }
    for name, rows in examples.items():
        (folder / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    return {
        "name": "pairs",
        "store": str(folder / "store"),
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "pool"}],
        "target": {"path": str(folder / "target.jsonl"), "eval": str(folder / "eval.jsonl")},
        "models": {"base": str(tiny), "dtype": "float32"},
        "select": {"method": "bm25", "budget": {"rows": 8}},
        "prove": {
            "objective": "dpo", "draws": 5, "seeds": 2, "written": 2, "lora": LORA, **prove
        },
    }  # fmt: skip


@pytest.fixture(scope="module")
def done(
    tiny: Path, tmp_path_factory: pytest.TempPathFactory, one_thread: None
) -> tuple[CommandResult, Path]:
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "recipe.yaml").write_text(json.dumps(recipe(folder, tiny, keep=True)))
    return curate("run", str(folder / "recipe.yaml"), "--out", str(folder / "run")), folder / "run"


@pytest.fixture(scope="module")
def proof(done: tuple[CommandResult, Path]) -> dict[str, Any]:
    read: dict[str, Any] = orjson.loads((done[1] / "proof.json").read_bytes())
    return read


def test_training_on_selected_pairs_teaches_what_held_out_pairs_prefer(
    proof: dict[str, Any],
) -> None:
    arms = {arm["arm"]: arm for arm in proof["arms"]}
    assert arms["base"]["pair_accuracy"] == 0.5
    assert arms["base"]["pair_loss"] == pytest.approx(0.693147, abs=1e-6)
    assert min(arms["selected"]["by_seed"]["pair_accuracy"]) > 0.8
    assert arms["selected"]["pair_loss"] < 0.4
    assert arms["random_rows"]["pair_accuracy"] < 0.8
    assert proof["metric"] == proof["spread"]["metric"] == "pair_loss"
    assert proof["verdict"] == "better"


def test_terminal_and_page_say_what_the_measure_is(
    done: tuple[CommandResult, Path], proof: dict[str, Any]
) -> None:
    result, folder = done
    assert result.returncode == 0, result.stderr
    said = "loss of held-out pairs lower by +"
    assert said in proof["sentence"].lower()
    assert (
        "Fine-tunes learn pairs by DPO (beta 0.1); the loss of a held-out pair is 0.693"
        in (proof["sentence"])
    )
    assert "in nats per pair" in " ".join(result.stdout.split())
    page = (folder / "report/index.html").read_text()
    for label in ("Loss of held-out pairs", "Accuracy on held-out pairs", "learn pairs by DPO"):
        assert label in page
    panel = gather(folder).proof
    assert panel is not None
    assert panel.drawn_metrics == ("pair_loss", "pair_accuracy")


def test_the_figures_are_the_means_of_what_was_measured(
    done: tuple[CommandResult, Path], proof: dict[str, Any]
) -> None:
    effects = pl.read_parquet(done[1] / "evidence/proof-effects.parquet")
    for arm in proof["arms"]:
        own = effects.filter(arm=arm["arm"])
        for metric in ("pair_loss", "pair_accuracy", "loss"):
            assert own[metric].mean() == pytest.approx(arm[metric])


def test_a_second_run_computes_nothing_and_another_store_gives_the_same_bytes(
    done: tuple[CommandResult, Path], tiny: Path, tmp_path: Path
) -> None:
    again = run_curation(Config.model_validate(recipe(tmp_path, tiny, keep=True)), tmp_path / "run")
    one, other = (
        pl.read_parquet(folder / "evidence/proof-effects.parquet")
        for folder in (done[1], again.folder)
    )
    assert one.equals(other)
    first, second = (
        {path.name: path.read_bytes() for path in folder.rglob("adapter_model.safetensors")}
        for folder in (done[1], again.folder)
    )
    assert first == second
    assert first
    count = len(list((tmp_path / "store").glob("finetune-pairs-*")))
    run_curation(Config.model_validate(recipe(tmp_path, tiny, keep=True)), tmp_path / "again")
    assert len(list((tmp_path / "store").glob("finetune-pairs-*"))) == count
    # All pairs are of one length here, so that draws by tokens are those by rows.
    assert count == 2 + 5


def test_rows_that_are_no_pairs_are_in_no_arm_and_are_told(tiny: Path, tmp_path: Path) -> None:
    config = Config.model_validate(recipe(tmp_path, tiny, plain=3, draws=2, seeds=1, curve=2))
    result = run_curation(config, tmp_path / "run")
    proof = result.proof
    assert proof is not None
    selected = proof["pairs"]["selected"], proof["pairs"]["pairs"]
    assert selected[0] == 8
    assert selected[1] in (5, 6, 7)
    assert f"{8 - selected[1]} of 8 selected rows have no rejected answer" in proof["sentence"]
    rows = {arm["arm"]: arm["rows"] for arm in proof["arms"]}
    assert rows["selected"] == [selected[1]]
    assert rows["random_rows"] == [selected[1]] * 2
    drawn = pl.concat(
        pl.read_parquet(path) for path in (tmp_path / "store").glob("arms-*/arms.parquet")
    )
    plain = {f"pool/pool.jsonl:{i}" for i in (1, 2, 3)}
    assert plain.isdisjoint(drawn["row_id"])


def test_a_stage_without_which_no_pair_is_selected_is_told_and_not_trained(
    tiny: Path, tmp_path: Path
) -> None:
    settings = recipe(tmp_path, tiny, draws=2, seeds=1, ablate=True, written=0)
    lines = (tmp_path / "pool.jsonl").read_text().splitlines()
    # Eight times what the one target example says, and no pair: first where they are not dropped.
    twins = [{"prompt": "Which river is t1?", "response": "river"}] * 8
    (tmp_path / "target.jsonl").write_text(json.dumps(twins[0]))
    (tmp_path / "pool.jsonl").write_text("\n".join([*lines, *map(json.dumps, twins)]))
    settings["stages"] = ["exact"]
    proof = run_curation(Config.model_validate(settings), tmp_path / "run").proof
    assert proof is not None
    [stage] = proof["ablation"]["stages"]
    assert stage["changed"] == 7
    assert stage["note"] == EMPTY


def test_a_selection_without_pairs_stops_before_anything_is_trained(
    tiny: Path, tmp_path: Path
) -> None:
    config = Config.model_validate(recipe(tmp_path, tiny, plain=10))
    with pytest.raises(UserError, match="none of the 8 selected rows has a rejected answer"):
        run_curation(config, tmp_path / "run")
    assert not list((tmp_path / "store").glob("finetune-*"))


def test_an_eval_prompt_in_a_rejected_answer_refuses_the_proof(tmp_path: Path, tiny: Path) -> None:
    """It is trained on as well."""
    given = recipe(tmp_path, tiny)
    prompt = "Name the seven lakes between the old mill and the northern harbour of the town"
    for name, field in (("pool", "rejected"), ("eval", "prompt")):
        path = tmp_path / f"{name}.jsonl"
        first, *others = map(json.loads, path.read_text().splitlines())
        path.write_text("\n".join(map(json.dumps, [first | {field: prompt}, *others])))
    result = run_curation(Config.model_validate(given), tmp_path / "run")
    assert result.proof is not None
    assert result.proof["verdict"] == "refused"
    assert "the eval set leaks into 1 training rows" in result.proof["sentence"]
