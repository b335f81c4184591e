"""A summary of a run, as trackers get it."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.trackers.tracker import TrackingRecord


@pytest.fixture
def summary(tmp_path: Path) -> TrackingRecord:
    """Return a summary with more settings than a request to MLflow takes."""
    files = tmp_path / "files"
    files.mkdir()
    (files / "report.html").write_text("<p>better</p>")
    (files / "manifest.json").write_text("{}")
    return TrackingRecord(
        name="demo",
        verdict="better",
        sentence="The selection is better than random.",
        settings={f"stages.{i}.threshold": i / 4 for i in range(150)} | {"select.method": "rds"},
        figures={"rows/selected": 20, "arms/random_rows/loss": 1.25},
        tags={"seed": "0", "command": "curate run demo.yaml"},
        files=files,
    )
