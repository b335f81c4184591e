"""What trackers share, and a tracker that an installed package brings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from curate.core.errors import UserError
from curate.trackers.tracker import TrackingRecord, installed

# The documentation's own example.
DOCUMENT = Path(__file__).parents[2] / "docs" / "trackers.md"


def test_labels_open_with_the_verdict(summary: TrackingRecord) -> None:
    assert list(summary.labels) == ["verdict", "sentence", "seed", "command"]


def test_a_library_that_is_missing_is_named_with_its_extra() -> None:
    fault = pytest.raises(UserError, match=r"no_such is not installed: pip install .*\[mlflow\]")
    with fault, installed("mlflow"):
        raise ModuleNotFoundError(name="no_such")


@pytest.mark.system
def test_a_tracker_of_another_package_logs_runs(tmp_path: Path) -> None:
    site = tmp_path / "site"
    info = site / "labbook-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "labbook.py").write_text(DOCUMENT.read_text().split("```python\n")[1].split("```")[0])
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: labbook\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[curate.methods]\nlabbook = labbook\n")
    pool = [json.dumps({"prompt": f"What is {n}?", "response": f"It is {n}."}) for n in range(9)]
    (tmp_path / "pool.jsonl").write_text("\n".join(pool))
    recipe = {
        "name": "demo",
        "pool": "pool.jsonl",
        "select": {"method": "random", "budget": {"rows": 4}},
        "track": {"method": "lines", "path": str(tmp_path / "book.jsonl")},
    }
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), *sys.path])}

    def curate(*arguments: str) -> str:
        command = [sys.executable, "-m", "curate", *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=tmp_path, env=env
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "logged to lines" in curate("run", "recipe.yaml")
    curate("track", "runs/demo", "lines", "--set", f"path={tmp_path / 'book.jsonl'}")
    first, second = map(json.loads, (tmp_path / "book.jsonl").read_text().splitlines())
    assert first == second
    assert (first["name"], first["verdict"], first["rows/selected"]) == ("demo", "none", 4)
