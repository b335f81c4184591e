"""What trackers get of a finished run, and that one that fails leaves the run as it is."""

from __future__ import annotations

import logging
import socket
import sys
from pathlib import Path
from typing import Any, Literal

import orjson
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.pipeline.curation import run_curation
from curate.pipeline.tracking import log_to, log_to_trackers, read_tracker, summarised
from curate.runs.folder import RunFolder, open_run
from curate.trackers.mlflow import MlflowTracker
from curate.trackers.tracker import Tracker, TrackingRecord
from tests.report.realrun import FUZZY, finish, recipe, write_inputs

PROVE = {"draws": 2, "seeds": 1, "lora": {"epochs": 1}, "written": 0, "allow_leaks": True}


class BrokenTracker(Tracker):
    """A server that is not there."""

    method: Literal["broken"] = "broken"
    project: str = "curate"

    def log_run(self, run: TrackingRecord) -> str:
        raise ConnectionError("no route to\nhost")


class SilentTracker(Tracker):
    """Nothing at all."""

    method: Literal["silent"] = "silent"

    def log_run(self, run: TrackingRecord) -> str:
        return "nowhere"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("tracked")
    write_inputs(folder, rows=20)
    settings = recipe(folder, tiny, [{"method": "exact"}, FUZZY]).model_dump(mode="json")
    return open_run(finish(Config.model_validate({**settings, "prove": PROVE}), folder / "run"))


@pytest.mark.system
def test_figures_are_those_of_ledger_and_proof(run: RunFolder) -> None:
    proof = orjson.loads((run.path / "proof.json").read_bytes())
    ledger = run.table("ledger").collect()
    with summarised(run) as summary:
        figures = summary.figures
    assert figures["dropped/fuzzy"] == ledger.filter(fate="dropped", stage="fuzzy").height
    assert figures["rows/selected"] == ledger.filter(fate="selected").height == 5
    (first, *_) = proof["comparisons"]
    place = f"against/{first['control']}/{first['metric']}"
    assert figures[f"{place}/difference"] == first["mean_difference"]
    assert figures[f"{place}/low"] == first["estimate"]["low"]
    for arm in proof["arms"]:
        for metric in arm["by_seed"]:
            assert figures[f"arms/{arm['arm']}/{metric}"] == arm[metric]
    assert (summary.verdict, summary.sentence) == (proof["verdict"], proof["sentence"])
    assert figures["cost/seconds"] > 0


@pytest.mark.system
def test_nothing_that_is_logged_names_a_folder_of_the_machine(run: RunFolder) -> None:
    home = str(run.path.parent)
    command = f"curate run {home}/x.yaml --set pool.0.path={home}/pool.jsonl --out {home}/run"
    manifest = {**run.manifest, "run": {**run.manifest["run"], "command": command}}
    with summarised(RunFolder(run.path, manifest)) as summary:
        names = {path.name for path in summary.files.iterdir()}
        pages = [path.read_text() for path in summary.files.iterdir()]
        texts = [str(summary.settings), str(summary.tags), *pages]
    assert names == {"report.html", "manifest.json", "proof.json"}
    assert [text for text in texts if home in text] == []
    assert summary.tags["command"] == ("curate run x.yaml --set pool.0.path=pool.jsonl --out run")
    assert summary.settings["pool.0.path"] == "pool.jsonl"
    assert not summary.settings.keys() & {"store", "run.on", "track"}


@pytest.mark.system
def test_a_tracker_that_fails_is_a_warning_with_the_command(
    run: RunFolder, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, logger="curate"):
        log_to_trackers(run.path, [BrokenTracker(project="our own"), SilentTracker()])
    first, warning, second, success = caplog.messages
    assert (first, second) == ("logging to broken", "logging to silent")
    assert "the run is finished, but broken did not log it" in warning
    assert "no route to host" in warning
    assert f"curate track {run.path} broken --set 'project=our own'" in warning
    assert success == "logged to silent: nowhere"


@pytest.mark.system
def test_a_run_that_tracks_nowhere_imports_no_tracker_and_calls_nobody(
    tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path)
    calls: list[Any] = []
    monkeypatch.setattr(socket.socket, "connect", lambda *given: calls.append(given))
    before = set(sys.modules)
    run_curation(recipe(tmp_path, tiny, [{"method": "exact"}]), tmp_path / "run")
    assert calls == []
    assert not {"mlflow", "wandb", "trackio"} & (set(sys.modules) - before)


def test_a_recipe_names_trackers_by_word_settings_or_list(tmp_path: Path) -> None:
    base: dict[str, Any] = {"name": "x", "pool": "pool.jsonl"}
    assert Config.model_validate({**base, "track": "mlflow"}).track == [MlflowTracker()]
    settings = {"method": "mlflow", "experiment": "e"}
    assert Config.model_validate({**base, "track": settings}).track == [
        MlflowTracker(experiment="e")
    ]
    assert len(Config.model_validate({**base, "track": ["trackio", settings]}).track) == 2
    assert Config.model_validate(base).track == []


@pytest.mark.system
def test_a_run_whose_tracker_fails_is_finished_and_does_not_say_where_it_is_logged(
    tmp_path: Path, tiny: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_inputs(tmp_path)
    config = recipe(tmp_path, tiny, [{"method": "exact"}])
    tracked = config.model_copy(update={"track": [MlflowTracker(uri="nowhere://x")]})
    finish(tracked, tmp_path / "run")
    assert "but mlflow did not log it" in caplog.text
    assert "track" not in open_run(tmp_path / "run").manifest["config"]
    # The same recipe without a tracker is the same run.
    finish(config, tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "settings", "problem"),
    [
        ("mlfow", [], "no tracker is called 'mlfow'"),
        ("mlflow", ["experimnt=x"], "did you mean 'experiment'"),
        ("mlflow", ["experiment"], "write it as key=value"),
    ],
)
def test_a_wrong_tracker_or_setting_is_told(name: str, settings: list[str], problem: str) -> None:
    with pytest.raises(UserError, match=problem):
        read_tracker(name, settings)


@pytest.mark.system
def test_a_tracker_given_by_name_logs_a_finished_run(run: RunFolder) -> None:
    assert read_tracker("mlflow", ["experiment=e"]) == MlflowTracker(experiment="e")
    assert log_to(run.path, SilentTracker()) == "nowhere"
