"""W&B offline: what the file of a run holds, read by W&B's own messages."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.trackers.tracker import TrackingRecord
from curate.trackers.wandb import WandbTracker

pytestmark = pytest.mark.system
wandb = pytest.importorskip("wandb", reason="wandb is not installed")
# The log of LevelDB: blocks of chunks, each with checksum, length and whether it ends a record.
BLOCK, CHUNK_HEAD, FILE_HEAD, ENDS = 32768, 7, 7, (1, 4)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WANDB_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    yield tmp_path
    wandb.teardown()


@pytest.fixture
def offline(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("WANDB_MODE", "offline")
    return folder


def records(path: Path) -> Iterator[Any]:
    """Yield the messages of a .wandb file."""
    from wandb.proto.wandb_internal_pb2 import Record

    # What writes the file is a process, which may still be at it.
    wandb.teardown()
    data, at, parts = path.read_bytes(), FILE_HEAD, b""
    while at + CHUNK_HEAD <= len(data):
        if BLOCK - at % BLOCK < CHUNK_HEAD:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        parts += data[at + CHUNK_HEAD : at + CHUNK_HEAD + length]
        at += CHUNK_HEAD + length
        if kind in ENDS:
            record = Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def values(updates: Any) -> dict[str, Any]:
    """Return the values of a message's updates by their keys."""
    return {u.key or ".".join(u.nested_key): json.loads(u.value_json) for u in updates}


def test_the_file_holds_recipe_verdict_figures_and_report(
    summary: TrackingRecord, offline: Path
) -> None:
    place = Path(WandbTracker(project="tried", entity="team").log_run(summary))
    (path,) = place.glob("*.wandb")
    assert place.is_relative_to(offline)
    config: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    artifacts: list[Any] = []
    for record in records(path):
        if record.HasField("run"):
            assert (record.run.project, record.run.entity) == ("tried", "team")
            assert record.run.display_name == "demo"
            config |= values(record.run.config.update)
        if record.HasField("summary"):
            logged |= values(record.summary.update)
        if record.HasField("request") and record.request.HasField("log_artifact"):
            artifacts.append(record.request.log_artifact.artifact)
        if record.HasField("artifact"):
            artifacts.append(record.artifact)
    assert summary.settings.items() <= config.items()
    assert {**summary.labels, **summary.figures}.items() <= logged.items()
    (artifact,) = artifacts
    contents = {one.path for one in artifact.manifest.contents}
    assert (artifact.name, contents) == ("demo-report", {"report.html", "manifest.json"})


def test_nothing_is_logged_of_machine_and_script(summary: TrackingRecord, offline: Path) -> None:
    place = Path(WandbTracker().log_run(summary))
    assert not [path for path in (place / "files").iterdir() if path.is_file()]
    runs = [record.run for record in records(next(place.glob("*.wandb"))) if record.HasField("run")]
    assert {(run.host, run.git.remote_url, run.git.commit) for run in runs} == {("", "", "")}


def test_without_a_key_it_says_what_to_do_and_asks_nobody(
    summary: TrackingRecord, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "online")
    with pytest.raises(UserError, match="wandb login"):
        WandbTracker().log_run(summary)
