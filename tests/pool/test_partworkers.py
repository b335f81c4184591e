"""Parts of files, read by other processes: same bytes, same faults, and nothing left behind."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from curate.core.calls import StoreRunner
from curate.core.errors import UserError
from curate.core.rows import SCHEMA
from curate.core.store import Artifact, Store
from curate.pool import parts, partworkers
from curate.pool.containers import lines
from curate.pool.partframes import batch_frame, batch_of
from curate.pool.partprocesses import processes_kept
from curate.pool.parts import FilePart
from curate.pool.partworkers import PartWorkers
from curate.pool.recordrows import RecordBatch
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile

pytestmark = pytest.mark.system

LINES = [
    json.dumps({"messages": [{"role": "user", "content": f"{i}?"}, {"role": role, "content": "é"}]})
    for i, role in enumerate(["assistant", "assistant", "judge"] * 40)
]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with a file of JSON Lines that has many parts, and two others."""
    monkeypatch.setattr(parts, "PART_BYTES", 600)
    monkeypatch.setattr(lines, "BLOCK_BYTES", 600)
    monkeypatch.setattr(partworkers, "FEW_PARTS", 2)
    monkeypatch.setattr(partworkers, "WAITING_PARTS", 1)
    folder = tmp_path / "pool"
    folder.mkdir()
    twice = '{"instruction": "a", "instruction": "b", "output": "c"}'
    (folder / "a.jsonl").write_text("\n\n".join([*LINES, "{bad", twice]))
    (folder / "b.jsonl.gz").write_bytes(gzip.compress("\n".join(LINES[:50]).encode()))
    (folder / "c.json").write_text(json.dumps([{"prompt": "p", "completion": "c"}] * 60))
    return folder


def test_what_records_become_passes_a_pipe_whole() -> None:
    layouts: Counter[tuple[str, tuple[str, ...]]] = Counter({("messages", ("messages",)): 2})
    batch = RecordBatch("a.jsonl", SCHEMA.empty_table(), [], layouts, False, ["a.jsonl:1"], left=3)
    assert batch_of(batch_frame(batch)) == batch


def read(pool: Path, out: Path) -> Artifact:
    entry = RowFile(path=str(pool), source="s")
    rows = row_set("pool", [entry], seed=0, max_rejected=0.9)
    return rows.read(StoreRunner(Store(out))).artifact


def test_any_number_of_processes_writes_the_same_bytes(
    tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    results = []
    for count in (1, 3):
        monkeypatch.setattr("curate.pool.ingest.usual_workers", lambda count=count: count)
        caplog.clear()
        artifact = read(pool, tmp_path / str(count))
        results.append((artifact.counts, artifact.digest, list(caplog.messages)))
    assert results[0][0]["rows_out"] == 175
    assert results[0][0]["rejected"] == {"bad_json": 1, "unknown_role": 56}
    assert any("a key that comes twice" in message for message in results[0][2])
    assert results[1] == results[0]


def test_records_of_a_template_are_read_by_other_processes_too(
    tmp_path: Path, pool: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    template = tmp_path / "t.j2"
    template.write_text("{{ messages[0].content }} ||| {{ messages[1].content }}")
    entry = RowFile(path=str(pool / "a.jsonl"), template=[str(template)])
    monkeypatch.setattr("curate.pool.ingest.usual_workers", lambda: 2)
    rows = row_set("pool", [entry], seed=0, max_rejected=0.9).read(StoreRunner(Store(tmp_path)))
    assert rows.height == 120


def some_parts(pool: Path, count: int) -> Iterator[FilePart]:
    [files] = row_set("pool", [RowFile(path=str(pool))], seed=0, max_rejected=0.9).entries.files
    for i, part in enumerate(parts.entry_parts(files.identity, files.urls, 0)):
        if i == count:
            return
        yield part


def test_nothing_is_imported_from_the_current_folder(
    pool: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "queue.py").write_text("raise SystemExit(1)")
    monkeypatch.setattr("curate.pool.ingest.usual_workers", lambda: 2)
    assert read(pool, tmp_path / "store").counts["rows_out"] == 175


def test_a_process_that_is_killed_is_told_and_none_is_left(pool: Path) -> None:
    with pytest.raises(UserError, match=r"jsonl: a process that read it ended \(-9\)"):  # noqa: SIM117
        with PartWorkers(2) as workers:
            for i, _ in enumerate(workers.read(some_parts(pool, 12))):
                if i == 2:
                    for process in workers._processes:
                        process.kill()
    assert len(workers._processes) == 2
    assert all(process.returncode is not None for process in workers._processes)


def test_processes_that_are_kept_read_further_files_unless_they_have_ended(pool: Path) -> None:
    pids = []
    with processes_kept():
        for _ in range(3):
            with PartWorkers(2) as workers:
                batches = [batch_frame(batch) for batch in workers.read(some_parts(pool, 12))]
            pids.append({process.pid for process in workers._processes})
            assert len(batches) == 12
            if len(pids) == 2:
                workers._processes[0].kill()
                workers._processes[0].wait()
    assert pids[0] == pids[1]
    assert len(pids[1] & pids[2]) == 1
    assert all(process.returncode is not None for process in workers._processes)


def test_processes_end_with_the_one_that_they_work_for(pool: Path) -> None:
    """Also where that is killed and can tidy nothing up."""
    program = (
        "import sys; from tests.pool.test_partworkers import *\n"
        "workers = PartWorkers(2); lines.BLOCK_BYTES, partworkers.FEW_PARTS = 600, 1\n"
        "batches = workers.read(some_parts(Path(sys.argv[1]), 12)); next(batches); next(batches)\n"
        "print(*[p.pid for p in workers._processes], flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, pool], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout
    assert process.stdin
    pids = [int(word) for word in process.stdout.readline().split()]
    children = [psutil.Process(pid) for pid in pids]
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    gone, alive = psutil.wait_procs(children, timeout=600)
    assert (len(gone), alive) == (2, [])
