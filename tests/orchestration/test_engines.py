"""Engines on real clusters of two processes: the same bytes, errors and log lines; deaths of workers."""

import logging
import os
import re
import shutil
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import psutil
import pytest

from curate.config.running import RunSettings
from curate.core.calls import FUNCTIONS, CachedCall, Table
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.methods import load_plugin
from curate.core.store import Artifact, Store
from curate.models.blocks import row_block
from curate.models.index import vectors
from curate.models.load import ModelLocation, identify, kernels
from curate.models.losses import write_losses
from curate.orchestration.engines import open_engine
from curate.pipeline.engine import Submit
from tests.conftest import row, stored_rows, turns
from tests.orchestration import hazards
from tests.orchestration.prefectapi import flow_run_ids, steps_before
from tests.orchestration.workplace import (
    FAILED,
    REPO,
    Workplace,
    artifact_bytes,
    environment,
    pool_lines,
    run_files,
)
from tests.terminal import INTERRUPTED, TerminalProcess, wait_until

pytestmark = pytest.mark.system
COMPARED = ["embed", "kcenter", "perplexity"]
PLUGIN = """
import polars as pl
from curate.core.calls import cached

@cached(version=1, name="test-plugin")
def doubled(value: int) -> pl.DataFrame:
    return pl.DataFrame({"value": [2 * value]})
"""


@dataclass(frozen=True)
class OpenEngine:
    store: Store
    submit: Submit

    def compute(self, *calls: CachedCall[Any]) -> list[Artifact]:
        return [wait() for wait in self.submit(calls)]


@pytest.fixture(scope="module", params=["ray", "dask"])
def engine(
    request: pytest.FixtureRequest, api: object, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[OpenEngine]:
    """Yield an engine of two processes; it leaves none behind, and listens to no other machine.

    Prefect's server, which stays, is there before it.
    """
    store = Store(tmp_path_factory.mktemp("store"))
    settings = RunSettings.model_validate({"on": request.param, "workers": 2})
    before, ports = descendants(), listening()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(REPO))
        with open_engine(settings, store) as submit:
            yield OpenEngine(store, submit)
            assert {address for address, _ in listening() - ports} <= {"127.0.0.1", "::1"}
    _, alive = psutil.wait_procs(descendants() - before, timeout=600)
    assert alive == []


def descendants() -> set[psutil.Process]:
    """Return the processes that this one has started, but for the tracker that Python gives each."""
    family = psutil.Process().children(recursive=True)
    return {one for one in family if "resource_tracker" not in " ".join(one.cmdline())}


def listening() -> set[tuple[str, int]]:
    """Return the addresses and ports that this process and those it started listen at."""
    family = [psutil.Process(), *psutil.Process().children(recursive=True)]
    return {
        (connection.laddr.ip.removeprefix("::ffff:"), connection.laddr.port)
        for process in family
        for connection in process.net_connections(kind="inet")
        if connection.status == psutil.CONN_LISTEN
    }


def test_steps_are_computed_in_other_processes_and_found_afterwards(engine: OpenEngine) -> None:
    calls = [hazards.process.call(value) for value in range(6)]
    artifacts = engine.compute(*calls)
    assert os.getpid() not in {artifact.counts["process"] for artifact in artifacts}
    assert not any(artifact.cached for artifact in artifacts)
    tables = [Table(artifact, "process").read()["value"].item() for artifact in artifacts]
    assert tables == list(range(6))
    assert all(engine.store.find(call) for call in calls)


def test_a_long_list_is_computed_in_order_by_both_workers_whatever_becomes_of_one(
    engine: OpenEngine, tmp_path: Path
) -> None:
    """Some steps are a task: the one whose worker dies among them, and those around it."""
    values = range(1000, 1200)
    calls = [hazards.process.call(value) for value in values]
    artifacts = engine.compute(*calls[:100], hazards.deaths.call(str(tmp_path), 1), *calls[100:])
    assert Table(artifacts.pop(100), "deaths").read()["attempts"].item() == 2
    assert [Table(a, "process").read()["value"].item() for a in artifacts] == list(values)
    assert len({artifact.counts["process"] for artifact in artifacts}) >= 2


def test_a_step_that_fails_in_a_long_list_ends_it(engine: OpenEngine) -> None:
    calls = [hazards.process.call(value) for value in range(2000, 2200)]
    with pytest.raises(UserError, match=r"pool\.jsonl is at fault"):
        engine.compute(*calls[:100], hazards.fault.call("pool.jsonl"), *calls[100:])
    assert engine.store.find(calls[0])


def test_a_worker_reads_the_weights_of_a_model_once(engine: OpenEngine, tiny: Path) -> None:
    """For indexes of several blocks and for losses, which take the model with its head."""
    model = ModelSource(identify(ModelLocation("m", "folder", tiny), "float32"), tiny)
    rows = stored_rows(
        engine.store, "pool", [row(f"r{i}", turns("Hi", f"No. {i}")) for i in range(8)]
    )
    blocks = [row_block(rows, [2 * i, 2 * i + 1]) for i in range(4)]
    engine.compute(*[vectors.call(block, model, 64, 512) for block in blocks])
    engine.compute(*[write_losses.call(block, model, ["all"], 64, 512) for block in blocks])
    counts = [a.counts for a in engine.compute(*[hazards.loads.call(i) for i in range(12)])]
    assert os.getpid() not in {one["process"] for one in counts}
    assert max(one["loads"] for one in counts) == 1


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ModuleType]:
    """Yield the module of a file with a step."""
    path = tmp_path_factory.mktemp("plugin") / "doubling.py"
    path.write_text(PLUGIN)
    load_plugin(path)
    yield sys.modules["curate_plugin_doubling"]
    del sys.modules["curate_plugin_doubling"]
    del FUNCTIONS["test-plugin"]


def test_a_step_of_a_plugin_is_computed(engine: OpenEngine, plugin: ModuleType) -> None:
    (artifact,) = engine.compute(plugin.doubled.call(21))
    assert Table(artifact, "doubled").read()["value"].item() == 42


def test_errors_and_log_lines_arrive(engine: OpenEngine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "curate"), pytest.raises(UserError) as caught:
        engine.compute(hazards.fault.call("pool.jsonl"))
    assert str(caught.value) == "pool.jsonl is at fault"
    assert "pool.jsonl is read" in caplog.messages


def test_a_worker_of_another_kind_than_the_key_says_computes_nothing(engine: OpenEngine) -> None:
    here, other = (
        ModelSource({"dtype": "float32", "device": device}, Path("model"))
        for device in (kernels(), "cuda of another make")
    )
    (artifact,) = engine.compute(hazards.reading.call(here))
    assert Table(artifact, "reading").read()["dtype"].item() == "float32"
    with pytest.raises(UserError, match="computes on cuda of another make, and this worker on"):
        engine.compute(hazards.reading.call(other))


def test_a_step_whose_worker_dies_is_computed_by_another(
    engine: OpenEngine, tmp_path: Path
) -> None:
    (artifact,) = engine.compute(hazards.deaths.call(str(tmp_path), 1))
    assert Table(artifact, "deaths").read()["attempts"].item() == 2


def test_a_step_that_ends_every_worker_is_told_in_one_sentence(
    engine: OpenEngine, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(UserError, match=r"test-deaths: 3 workers died over it .*run\.workers"):
        engine.compute(hazards.deaths.call(str(tmp_path), 9))
    assert len(list(tmp_path.iterdir())) == 3
    (artifact,) = engine.compute(hazards.number.call(7))
    assert Table(artifact, "number").read()["value"].item() == 7
    assert capsys.readouterr() == ("", "")


def comparing(workplace: Workplace) -> None:
    """Write a recipe with some methods beside one another."""
    workplace.write(pool_lines())
    lines = "".join(f"  - {{method: {name}}}\n" for name in COMPARED)
    with workplace.recipe.open("a") as recipe:
        recipe.write(f"compare:\n{lines}")
    text = workplace.recipe.read_text().replace("models: {", "models: {embedder: static, ")
    workplace.recipe.write_text(text)


@pytest.fixture(scope="module")
def inline(tiny: Path, tmp_path_factory: pytest.TempPathFactory) -> Workplace:
    """Return a workplace whose run has ended, computed step by step."""
    workplace = Workplace(tmp_path_factory.mktemp("inline"), tiny)
    comparing(workplace)
    done = workplace.run_here()
    assert done.returncode == 0, done.stderr
    return workplace


@pytest.mark.parametrize("on", ["threads", "ray", "dask"])
def test_a_run_is_the_same_on_every_engine(
    inline: Workplace, api: Mapping[str, str], tmp_path: Path, on: str
) -> None:
    """On a cluster as a flow: test_kills has the same bytes of runs on clusters without Prefect."""
    workplace = Workplace(tmp_path / "place", inline.base)
    comparing(workplace)
    arguments = ["-v", "--set", f"run.on={on}", "--set", "run.workers=2"]
    before = flow_run_ids(api)
    # A cluster's workers import what starts them: the command, and not pytest.
    done = workplace.run_here(*arguments) if on == "threads" else workplace.run(*arguments, env=api)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert FAILED not in done.stderr
    assert artifact_bytes(workplace.store) == artifact_bytes(inline.store)
    assert run_files(workplace.out) == run_files(inline.out)
    assert steps(workplace) == steps(inline)
    assert re.search(r"  finetune-\w+: made in", done.stderr)
    if on != "threads":
        (flow_run,) = flow_run_ids(api) - before
        # What a client has sent, its server records a moment later.
        wait_until(lambda: steps_before(api, flow_run).get("exact") == {"pool"})


def steps(workplace: Workplace) -> list[tuple[str, int]]:
    """Return the steps of a run in the order in which its manifest tells them."""
    manifest = orjson.loads((workplace.out / "manifest.json").read_bytes())
    return [(stage["stage"], stage["steps"]) for stage in manifest["stages"]]


def test_an_interrupted_run_leaves_no_cluster(inline: Workplace, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "place", inline.base)
    comparing(workplace)
    shutil.copytree(inline.store, workplace.store)
    terminal = TerminalProcess(
        workplace.command("--set", "run.on=ray", "--set", "prove.lora.epochs=20000"),
        env=environment(),
    )
    try:
        terminal.wait_for(lambda: "Fine-tune the arms" in terminal.read())
        children = terminal.relatives()
        terminal.press_control_c()
        assert terminal.end()[0] == 130, terminal.output
    finally:
        terminal.kill()
    assert terminal.output.count(INTERRUPTED) == 1
    wait_until(lambda: not any(child.is_running() for child in children))
    assert list((workplace.store / "tmp").iterdir()) == []
