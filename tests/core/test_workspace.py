"""Unfinished work: swept when its builder is dead, left alone as long as it may be alive."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from curate.core.workspace import ABANDONED_SECONDS, PROBATION_SECONDS, sweep, workspace

BUILDER = """
import sys, time
from pathlib import Path
sys.path[:0] = [{root!r}]
from curate.core.workspace import workspace
with workspace(Path({tmp!r})) as folder:
    (folder / "half.txt").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""
UNSHARE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]


@contextmanager
def builder(tmp: Path, *prefix: str) -> Iterator[tuple[subprocess.Popen[str], Path]]:
    """Yield a process that builds in a folder, and the folder."""
    code = BUILDER.format(root=str(Path(__file__).parents[2]), tmp=str(tmp))
    child = subprocess.Popen(
        [*prefix, sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    try:
        yield child, Path(child.stdout.readline().strip())
    finally:
        child.kill()
        child.wait()
        child.stdout.close()


def touch(path: Path, age: float) -> None:
    then = time.time() - age
    os.utime(path, (then, then))


def sweep_now(tmp: Path) -> None:
    sweep(tmp, now=time.time())


def test_a_workspace_is_empty_and_gone_at_the_end(tmp_path: Path) -> None:
    with workspace(tmp_path / "tmp") as folder:
        assert list(folder.iterdir()) == []
        (folder / "half.txt").write_text("half")
    assert list((tmp_path / "tmp").iterdir()) == []


def test_what_was_moved_away_stays(tmp_path: Path) -> None:
    with workspace(tmp_path / "tmp") as folder:
        (folder / "whole.txt").write_text("whole")
        folder.rename(tmp_path / "final")
    assert (tmp_path / "final" / "whole.txt").read_text() == "whole"
    assert list((tmp_path / "tmp").iterdir()) == []


def test_a_killed_builders_work_is_swept_and_a_living_ones_is_not(tmp_path: Path) -> None:
    with builder(tmp_path) as (child, folder):
        sweep_now(tmp_path)
        assert (folder / "half.txt").read_text() == "half"
        child.send_signal(signal.SIGKILL)
        child.wait()
        with workspace(tmp_path) as other:
            assert sorted(tmp_path.iterdir()) == sorted(
                [other, other.with_name(f"{other.name}.lock")]
            )


@pytest.mark.skipif(
    not shutil.which("unshare")
    or subprocess.run([*UNSHARE, "true"], capture_output=True).returncode != 0,
    reason="no process namespaces here",
)
def test_a_builder_in_another_container_is_left_alone_until_it_dies(tmp_path: Path) -> None:
    """Its process id means nothing here, and another process may have the same one."""
    with builder(tmp_path, *UNSHARE) as (child, folder):
        sweep_now(tmp_path)
        assert (folder / "half.txt").read_text() == "half"
        child.kill()
        child.wait()
        deadline = time.monotonic() + 600
        while folder.exists() and time.monotonic() < deadline:
            sweep_now(tmp_path)
            time.sleep(0.05)
        assert not folder.exists()


def test_another_machines_work_is_left_alone_until_it_stays_a_day_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead builder's, even: its lock need not be visible here."""
    with builder(tmp_path) as (child, folder):
        child.kill()
        child.wait()
        monkeypatch.setattr("curate.core.workspace.machine", lambda: "another machine")
        lock = folder.with_name(f"{folder.name}.lock")
        touch(lock, ABANDONED_SECONDS - 60)
        touch(folder, 2 * ABANDONED_SECONDS)
        sweep_now(tmp_path)
        assert (folder / "half.txt").read_text() == "half"
        touch(lock, ABANDONED_SECONDS + 60)
        sweep_now(tmp_path)
        sweep_now(tmp_path)
        assert (folder / "half.txt").read_text() == "half"
        touch(lock.with_suffix(".aged"), PROBATION_SECONDS + 60)
        sweep_now(tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_a_clock_that_jumps_costs_a_living_builder_of_another_machine_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For a minute its work looks a year old, and an hour after it looks so again."""
    year = 365 * 24 * 3600
    with builder(tmp_path) as (_, folder):
        lock = folder.with_name(f"{folder.name}.lock")
        monkeypatch.setattr("curate.core.workspace.machine", lambda: "another machine")
        sweep(tmp_path, now=time.time() + year)
        os.utime(lock)
        sweep(tmp_path, now=time.time() + 2 * year)
        assert (folder / "half.txt").read_text() == "half"
        touch(lock, -year)
        sweep_now(tmp_path)
        assert (folder / "half.txt").read_text() == "half"


def test_work_on_a_file_system_without_locks_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.core.workspace.try_lock", lambda descriptor: False)
    with workspace(tmp_path) as folder:
        monkeypatch.undo()
        sweep_now(tmp_path)
        assert folder.is_dir()


def test_folders_of_older_versions_go_after_a_day(tmp_path: Path) -> None:
    young, old = tmp_path / f"1-{'a' * 32}", tmp_path / f"2-{'b' * 32}"
    for folder in (young, old):
        folder.mkdir()
        (folder / "half.txt").write_text("half")
    touch(old, ABANDONED_SECONDS + 60)
    sweep_now(tmp_path)
    assert list(tmp_path.iterdir()) == [young]


def test_a_store_beside_a_users_own_tmp_removes_nothing_there(tmp_path: Path) -> None:
    """`store: /` would put the workspaces into /tmp."""
    theirs = [tmp_path / name for name in ("work", "work-1", "1-draft", "notes.lock", "x")]
    for path in theirs:
        if path.suffix == ".lock":
            path.write_text("")
        else:
            path.mkdir()
        touch(path, 2 * ABANDONED_SECONDS)
    sweep_now(tmp_path)
    assert sorted(tmp_path.iterdir()) == sorted(theirs)


def test_a_builder_shows_life(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("curate.core.workspace.HEARTBEAT_SECONDS", 0.01)
    with workspace(tmp_path) as folder:
        lock = folder.with_name(f"{folder.name}.lock")
        touch(lock, 1000)
        deadline = time.monotonic() + 600
        while time.time() - lock.stat().st_mtime > 500:
            assert time.monotonic() < deadline
            time.sleep(0.01)
