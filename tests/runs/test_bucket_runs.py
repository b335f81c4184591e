"""A run onto a bucket: another machine reuses all of it, and its folder is read as any other."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from curate.config.recipe import Config
from curate.core.bucket import local_folder
from curate.estimate.recipe import estimate
from curate.orchestration.engines import run_on_engine
from curate.pipeline.curation import run_curation
from curate.pipeline.reuse import reused_artifacts
from curate.report.build import write_report
from curate.runs.explain import explain_row
from curate.runs.folder import open_run
from curate.runs.housekeeping import damaged_entries, existing_store
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold
from tests.core.test_store import content
from tests.report.realrun import FUZZY, LEAKS, finish, recipe, write_inputs
from tests.s3server import use_s3

pytestmark = pytest.mark.system


@dataclass(frozen=True)
class FinishedRun:
    """A recipe whose store is a bucket, and the folder of its run."""

    config: Config
    folder: Path


@pytest.fixture(scope="module")
def finished(
    s3: str, tmp_path_factory: pytest.TempPathFactory, tiny: Path
) -> Iterator[FinishedRun]:
    folder = tmp_path_factory.mktemp("finished")
    with pytest.MonkeyPatch.context() as patch:
        use_s3(patch, s3)
        patch.setenv("CURATE_CACHE", str(folder / "cache"))
        fsspec.filesystem("s3").clear_instance_cache()
        write_inputs(folder, rows=20)
        plain = recipe(folder, tiny, [{"method": "exact"}, FUZZY, LEAKS])
        select = {"method": "embed", "budget": {"rows": 5}}
        models = {"base": str(tiny), "embedder": "static"}
        settings = {"select": select, "models": models, "store": new_store()}
        config = Config.model_validate(plain.model_dump(mode="json") | settings)
        yield FinishedRun(config, finish(config, folder / "run"))
        fsspec.filesystem("s3").clear_instance_cache()


def new_store() -> str:
    """Return the address of a store in a bucket of its own."""
    name = f"runs-{uuid4()}"
    fsspec.filesystem("s3").mkdir(name)
    return f"s3://{name}/curate"


@pytest.fixture
def config(finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """The same recipe with a store that is empty, on a machine that has read nothing of it."""
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    return finished.config.model_copy(update={"store": new_store()})


def artifacts(store: Path) -> dict[str, dict[str, bytes]]:
    """Return the bytes of all artifacts of a folder, by their names."""
    return {path.parent.name: content(path.parent) for path in store.glob("*/manifest.json")}


def reused(stages: list[dict[str, Any]]) -> tuple[int, int]:
    return sum(s["cached"] for s in stages), sum(s["steps"] for s in stages)


def test_another_machine_reuses_all_of_a_run_with_the_same_bytes(
    config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run_curation(config, tmp_path / "first")
    before = artifacts(local_folder(config.store))
    assert reused(first.manifest["stages"])[0] == 0

    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "other"))
    assert len(reused_artifacts(config)) == len(before)
    shutil.rmtree(tmp_path / "other")
    second = run_curation(config, tmp_path / "second")
    cached, steps = reused(second.manifest["stages"])
    assert cached == steps == len(before) > 15
    assert artifacts(local_folder(config.store)) == before
    assert local_folder(config.store).is_relative_to(tmp_path / "other")
    assert second.manifest["store"] == config.store


@pytest.fixture(scope="module")
def in_a_folder(finished: FinishedRun, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The artifacts of the run whose store is a folder."""
    folder = tmp_path_factory.mktemp("folder")
    finish(finished.config.model_copy(update={"store": str(folder / "store")}), folder / "run")
    return artifacts(folder / "store")


def test_a_run_onto_a_bucket_is_that_of_a_folder(finished: FinishedRun, in_a_folder: Any) -> None:
    assert artifacts(local_folder(finished.config.store)) == in_a_folder


def test_a_worker_of_dask_puts_the_same_bytes_into_a_bucket(
    config: Config, tmp_path: Path, in_a_folder: Any
) -> None:
    pytest.importorskip("distributed", reason="Dask's workers")
    worker = Config.model_validate(config.model_dump() | {"run": {"on": "dask", "workers": 1}})
    run_on_engine(worker, tmp_path / "dask")
    assert artifacts(local_folder(config.store)) == in_a_folder
    assert not damaged_names(config.store)


def damaged_names(address: str) -> list[str]:
    return [entry.name for entry, _ in damaged_entries(existing_store(address))]


def test_a_runs_folder_is_read_where_its_store_is_a_bucket(
    finished: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "empty"))
    run = open_run(finished.folder)
    lines = explain_row(run, "web/pool.jsonl:1")
    pool = finished.folder.with_name("pool.jsonl")
    text = json.loads(pool.read_text().splitlines()[0])["prompt"]
    assert any(text[:40] in line for line in lines)
    assert write_report(finished.folder).is_file()
    assert plan_selection(run, "rows=3").ranking["selected"].sum() == 3
    assert rethreshold(run, "fuzzy", ["threshold=0.8"]).evidence.height
    assert estimate(finished.config)


def test_a_received_run_folder_sends_no_request_to_a_host_that_it_names(
    finished: FinishedRun, tmp_path: Path
) -> None:
    shutil.copytree(finished.folder, tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.write_text(path.read_text().replace(finished.config.store, "sftp://127.0.0.1:9/x"))
    assert open_run(tmp_path / "run").rows("pool") is None
