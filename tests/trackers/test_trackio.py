"""trackio: what its database on this machine holds of a run, read by its own interface."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
pytest.importorskip("trackio", reason="trackio is not installed")

# trackio takes the folder of its database at its import, so it has a process of its own.
SCRIPT = """
import json, sys
from pathlib import Path
from curate.trackers.tracker import TrackingRecord
from curate.trackers.trackio import TrackioTracker

given = json.loads(sys.argv[1])
record = TrackingRecord(**{**given, "files": Path(given["files"])})
place = TrackioTracker(project="tried").log_run(record)

import trackio
from trackio.sqlite_storage import SQLiteStorage

(run,) = trackio.Api().runs("tried")
trackio.init("tried", name="reader", auto_log_gpu=False, auto_log_cpu=False, embed=False)
folder = Path(trackio.use_artifact(f"{given['name']}-report:latest").download())
print("RESULT", json.dumps({
    "place": place,
    "name": run.name,
    "config": run.config,
    "figures": SQLiteStorage.get_logs("tried", run.name),
    "files": sorted(path.name for path in folder.iterdir()),
}))
"""


def test_a_run_is_in_the_database_as_it_was_logged(tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "report.html").write_text("<p>better</p>")
    summary = {
        "name": "demo",
        "verdict": "better",
        "sentence": "The selection is better than random.",
        "settings": {"stages.0.threshold": 0.5, "select.method": "rds"},
        "figures": {"rows/selected": 20, "arms/random_rows/loss": 1.25},
        "tags": {"command": "curate run demo.yaml"},
        "files": str(files),
    }
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(summary)],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "TRACKIO_DIR": str(tmp_path / "trackio"), "HF_HUB_OFFLINE": "1"},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.partition("RESULT ")[2].partition("\n")[0])
    assert result["place"] == "trackio show --project tried"
    assert result["name"] == "demo"
    labels = {
        "verdict": "better",
        "sentence": summary["sentence"],
        "command": "curate run demo.yaml",
    }
    logged = {"stages.0.threshold": 0.5, "select.method": "rds", **labels}
    assert logged.items() <= result["config"].items()
    (figures,) = result["figures"]
    assert {"rows/selected": 20, "arms/random_rows/loss": 1.25}.items() <= figures.items()
    assert result["files"] == ["report.html"]
