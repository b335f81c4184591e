"""Identity and resume of whole runs: only what depends on a change is made again."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.orchestration.workplace import (
    REPO,
    Workplace,
    artifact_bytes,
    environment,
    pool_lines,
    run_files,
)

pytestmark = pytest.mark.system

AFTER_SELECTION = {
    "select", "coverage", "quantiles", "languages", "set-measures", "ledger", "arms", "proof-labels",
    "proof-leaks", "finetune", "measure", "spread", "written", "proof", "export",
}  # fmt: skip


@pytest.fixture
def again(finished: Workplace) -> Iterator[Workplace]:
    """Return the finished workplace; what a test changes in it is put back."""
    saved = finished.root.with_name("saved")
    shutil.copytree(finished.root, saved)
    yield finished
    shutil.rmtree(finished.root)
    saved.rename(finished.root)


def test_an_identical_second_run_does_no_stage_work(again: Workplace) -> None:
    before, files = artifact_bytes(again.store), run_files(again.out)
    done = again.run_here()
    assert done.returncode == 0, done.stderr
    assert again.remade() == set()
    assert artifact_bytes(again.store) == before
    assert run_files(again.out) == files


def test_a_changed_budget_reruns_the_selection_and_what_follows(again: Workplace) -> None:
    done = again.run_here("--set", "select.budget.rows=3", "--overwrite")
    assert done.returncode == 0, done.stderr
    remade = again.remade()
    assert "select" in remade
    assert remade <= AFTER_SELECTION


def test_editing_an_input_file_in_place_is_noticed(again: Workplace) -> None:
    lines = pool_lines()
    times = (again.pool.stat().st_atime_ns, again.pool.stat().st_mtime_ns)
    edited = b"".join([lines[0].replace(b"a", b"e"), *lines[1:]])
    assert len(edited) == again.pool.stat().st_size
    again.pool.write_bytes(edited)
    os.utime(again.pool, ns=times)
    done = again.run_here()
    assert done.returncode == 0, done.stderr
    assert {"pool", "exact", "index"} <= again.remade()
    assert {"target", "eval", "base"} & again.remade() == set()


@pytest.mark.parametrize("harm", ["delete", "flip"])
def test_a_deleted_or_damaged_artifact_is_rebuilt(again: Workplace, harm: str) -> None:
    before, files = artifact_bytes(again.store), run_files(again.out)
    victim = next(again.store.glob("score-rds-*")) / "scores.parquet"
    if harm == "delete":
        shutil.rmtree(victim.parent)
    else:
        damaged = bytearray(victim.read_bytes())
        damaged[len(damaged) // 2] ^= 1
        victim.write_bytes(bytes(damaged))
    done = again.run_here()
    assert done.returncode == 0, done.stderr
    # The rebuilt scores are the same bytes, so what follows from them is still right.
    assert again.remade() == {"score-rds"}
    assert artifact_bytes(again.store) == before
    assert run_files(again.out) == files


def test_a_killed_run_resumes_to_the_same_bytes(finished: Workplace, tmp_path: Path) -> None:
    workplace = Workplace(tmp_path / "killed", finished.base)
    workplace.write(pool_lines())
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            workplace.command(), cwd=REPO, env=environment(), stderr=log, start_new_session=True
        )
    deadline = time.monotonic() + 1_800
    while not any(workplace.store.glob("finetune-*")):
        assert process.poll() is None, (tmp_path / "log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    # Stopped first, so that what it is at does not end between the look and the kill.
    os.killpg(process.pid, signal.SIGSTOP)
    while not any(path.is_dir() for path in (workplace.store / "tmp").iterdir()):
        os.killpg(process.pid, signal.SIGCONT)
        time.sleep(0.01)
        os.killpg(process.pid, signal.SIGSTOP)
        assert process.poll() is None, "the run ended before it was killed"
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (workplace.out / "manifest.json").exists()
    done = workplace.run_here()
    assert done.returncode == 0, done.stderr
    cached = {name: stage["cached"] for name, stage in workplace.manifest().items()}
    assert cached["index"] == 2
    assert cached["finetune"] >= 1
    assert artifact_bytes(workplace.store) == artifact_bytes(finished.store)
    assert run_files(workplace.out) == run_files(finished.out)
    assert not list((workplace.store / "tmp").iterdir())
