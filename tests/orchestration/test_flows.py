"""The flows: their forms, and what generation and proof alone leave behind, under real Prefect."""

import json
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.pipeline.run import RunResult
from tests.generate.serverruns import good_act, recipe_of
from tests.llm.engines.fakeserver import FakeServer
from tests.orchestration.workplace import REPO, Workplace, environment

# The recipes of trainers in the export have the settings of the proof.
PROOF_STEPS = {
    "export", "arms", "proof-labels", "proof-leaks", "finetune", "measure", "spread", "written", "proof",
}  # fmt: skip
# Calls of flows by name and arguments.
CALLS = """
import json, sys
from curate.orchestration import flows
for name, arguments in json.loads(sys.argv[1]):
    print("RESULT", json.dumps(getattr(flows, name)(**arguments)))
"""


def call(api: Mapping[str, str], *calls: tuple[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what flows return, called one after the other in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", CALLS, json.dumps(calls)],
        cwd=REPO, env={**environment(), **api}, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
    return [json.loads(line.removeprefix("RESULT ")) for line in lines]


def copy_of(finished: Workplace, folder: Path) -> Workplace:
    """Return a copy of a finished run and its store."""
    workplace = Workplace(folder / "copy", finished.base)
    shutil.copytree(finished.root, workplace.root)
    manifest = workplace.out / "manifest.json"
    settings = orjson.loads(manifest.read_bytes()) | {"store": str(workplace.store)}
    manifest.write_bytes(orjson.dumps(settings))
    return workplace


def test_the_flows_show_their_settings_as_a_form() -> None:
    # Of two processes that run tests, one at least needs none of Prefect.
    from prefect.utilities.callables import parameter_schema

    from curate.orchestration.flows import curation, generation, proof

    schema = parameter_schema(curation).model_dump()
    assert set(schema["properties"]) == {"config", "out", "overwrite", "command"}
    assert {"pool", "select", "prove"} <= set(schema["definitions"]["Config"]["properties"])
    assert "generate" in parameter_schema(generation).definitions["Config"]["properties"]
    assert "draws" in parameter_schema(proof).definitions["ProofSettings"]["properties"]


@pytest.mark.system
def test_generation_and_proof_alone_leave_what_a_run_takes_and_what_a_run_would(
    api: Mapping[str, str], finished: Workplace, tiny: Path, tmp_path: Path
) -> None:
    """One after the other in one process, as in one that serves flows."""
    # A copy: what the proof adds to the store is not in that of a run that other tests look at.
    before, proven = copy_of(finished, tmp_path).out, tmp_path / "proven"
    lora = {"epochs": 1, "rank": 2}
    arguments = {"run": str(before), "prove": {"draws": 2, "seeds": 1, "lora": lora}}
    with FakeServer(lambda body, number: good_act(body)) as server:
        recipe = recipe_of("generate", tmp_path, tiny, server.url)
        generated, proof_result = call(
            api, ("generation", {"config": recipe}), ("proof", {**arguments, "out": str(proven)})
        )
        calls = len(server.bodies)
        run = run_curation(Config.model_validate(recipe), tmp_path / "run")
        assert len(server.bodies) == calls > 0
    check_generation(generated, run)
    check_proof(proof_result, before, proven)


def check_generation(result: dict[str, Any], run: RunResult) -> None:
    """Compare what the flow generated with what a run of the recipe took."""
    rows = pl.read_parquet(f"{result['folder']}/rows.parquet")
    assert rows.height == result["rows"] > 0
    assert pl.read_parquet(f"{result['folder']}/candidates.parquet").height == result["candidates"]
    assert result["generated"] == run.generated
    assert set(rows["row_id"]) <= set(run.ledger["row_id"])


def check_proof(result: dict[str, Any], before: Path, proven: Path) -> None:
    """Compare a proven run with the one that it is a proof of."""
    assert result["run"] == str(proven)
    settings = orjson.loads((proven / "manifest.json").read_bytes())["config"]["prove"]
    assert (settings["seeds"], settings["lora"]["rank"]) == (1, 2)
    assert result["sentence"] == orjson.loads((proven / "proof.json").read_bytes())["sentence"]
    for name in ("ledger.parquet", "selected.parquet"):
        assert (proven / name).read_bytes() == (before / name).read_bytes()
    stages = orjson.loads((proven / "manifest.json").read_bytes())["stages"]
    remade = {stage["stage"] for stage in stages if stage["cached"] != stage["steps"]}
    assert "finetune" in remade
    assert remade <= PROOF_STEPS
