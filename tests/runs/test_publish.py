"""Run folders are replaced whole, and nothing but what a run wrote is ever removed."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

import curate.runs.publish
from curate.core.errors import UserError
from curate.core.runlock import locked
from curate.runs.folder import OLD_MANIFEST, listed_files, read_manifest
from curate.runs.publish import publish, temporary_name


def writer(files: Mapping[str, str]) -> Callable[[Path], None]:
    """Return a function that writes a run of these files, its manifest included."""

    def build(staging: Path) -> None:
        for name, text in files.items():
            (staging / name).parent.mkdir(parents=True, exist_ok=True)
            (staging / name).write_text(text)
        listed = sorted([*files, "manifest.json"])
        manifest = {"name": "a", "config": {}, "artifacts": {}, "stages": [], "store": "s"}
        (staging / "manifest.json").write_text(json.dumps({**manifest, "files": listed}))

    return build


def write_run(folder: Path, **files: str) -> None:
    named = {name.replace("__", "/"): text for name, text in files.items()}
    with locked(folder) as lock:
        publish(folder, lock, writer(named))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def contents(folder: Path) -> dict[str, str]:
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != "manifest.json")
    return {p.relative_to(folder).as_posix(): p.read_text() for p in paths}


@pytest.fixture(params=["exchanged", "renamed", "in place"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The ways in which a run takes its place, by what the file system can do."""
    if request.param != "exchanged":
        monkeypatch.setattr(curate.runs.publish, "_exchange", lambda one, other: False)
    if request.param == "in place":
        monkeypatch.setattr(curate.runs.publish, "_can_stand_beside", lambda folder: False)
    return str(request.param)


def test_a_new_run_replaces_the_files_of_the_old_one_and_no_others(
    tmp_path: Path, way: str
) -> None:
    run = tmp_path / "run"
    write_run(run, proof="old", evidence__exact="old", evidence__fuzzy="old")
    (run / "notes.txt").write_text("mine")
    (run / "evidence" / "marks.csv").write_text("mine")
    (run / "own" / "deep").mkdir(parents=True)
    (run / "own" / "deep" / "x").write_text("mine")
    (run / "link").symlink_to("/etc/passwd")
    write_run(run, evidence__exact="new", export__train="new")
    (run / "link").unlink()
    assert contents(run) == {
        "evidence/exact": "new", "export/train": "new", "notes.txt": "mine",
        "evidence/marks.csv": "mine", "own/deep/x": "mine",
    }  # fmt: skip
    assert names(tmp_path) == ["run"]


def test_folders_that_a_new_run_no_longer_fills_go(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    write_run(run, generated__bill="old", ledger="old")
    write_run(run, ledger="new")
    assert names(run) == ["ledger", "manifest.json"]


def test_nothing_is_written_or_removed_through_a_link(tmp_path: Path, way: str) -> None:
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    write_run(run, evidence__exact="old", ledger="old")
    (run / "evidence" / "exact").unlink()
    (run / "evidence").rmdir()
    elsewhere.mkdir()
    (elsewhere / "exact").write_text("precious")
    (run / "evidence").symlink_to(elsewhere)
    with pytest.raises(UserError, match="run/evidence is no file of a run, but this run would"):
        write_run(run, evidence__exact="new", ledger="new")
    assert contents(elsewhere) == {"exact": "precious"}
    assert (run / "ledger").read_text() == "old"


def test_a_users_file_where_the_new_run_has_one_is_refused(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="old")
    (run / "proof.json").write_text("mine")
    with pytest.raises(UserError, match=r"run/proof\.json is no file of a run"):
        write_run(run, ledger="new", **{"proof.json": "new"})
    assert contents(run) == {"ledger": "old", "proof.json": "mine"}


def test_a_run_that_cannot_be_built_leaves_the_old_one(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="old")

    def build(staging: Path) -> None:
        (staging / "ledger").write_text("new")
        raise OSError(28, "No space left on device")

    said = f"^{re.escape(str(run))}: the disk is full; .*; give another --out$"
    with pytest.raises(UserError, match=said), locked(run) as lock:
        publish(run, lock, build)
    assert contents(run) == {"ledger": "old"}
    assert names(tmp_path) == ["run"]


def test_a_run_of_a_version_that_listed_no_files_is_replaced(tmp_path: Path, way: str) -> None:
    run = tmp_path / "run"
    write_run(run, **{"ledger.parquet": "old", "export__train": "old", "report__index.html": "old"})
    manifest = json.loads((run / "manifest.json").read_text())
    del manifest["files"]
    (run / "manifest.json").write_text(json.dumps(manifest))
    (run / "notes.txt").write_text("mine")
    write_run(run, **{"ledger.parquet": "new"})
    assert contents(run) == {"ledger.parquet": "new", "notes.txt": "mine"}


@pytest.mark.parametrize("name", ["../precious", "/tmp", "", "a/../../precious", 3, None])
def test_a_manifest_cannot_list_what_lies_outside_its_folder(tmp_path: Path, name: object) -> None:
    run = tmp_path / "run"
    (tmp_path / "precious").write_text("mine")
    write_run(run, ledger="old")
    manifest = json.loads((run / "manifest.json").read_text())
    (run / "manifest.json").write_text(json.dumps({**manifest, "files": ["ledger", name]}))
    assert listed_files(run) == ["ledger", "manifest.json"]
    write_run(run, ledger="new")
    assert (tmp_path / "precious").read_text() == "mine"


def test_what_a_killed_run_left_goes_with_the_next_one(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="old")
    half = temporary_name(run)
    half.mkdir()
    (half / "ledger").write_text("half")
    swapped = temporary_name(run)
    write_run(swapped, ledger="older")
    (swapped / "notes.txt").write_text("mine")
    (run / temporary_name(run / "index.html").name).write_text("half")
    others = tmp_path / temporary_name(tmp_path / "run2").name
    others.mkdir()
    write_run(run, ledger="new")
    assert contents(run) == {"ledger": "new", "notes.txt": "mine"}
    assert names(tmp_path) == sorted(["run", others.name])


def test_of_two_files_of_one_name_neither_is_lost(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="old")
    swapped = temporary_name(run)
    write_run(swapped, ledger="older")
    (swapped / "notes.txt").write_text("first")
    (run / "notes.txt").write_text("second")
    write_run(run, ledger="new")
    assert contents(run) == {"ledger": "new", "notes.txt": "second"}
    assert (swapped / "notes.txt").read_text() == "first"


def test_an_update_in_place_that_was_killed_is_still_a_run_of_ours(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="old", proof="old")
    (run / "manifest.json").rename(run / OLD_MANIFEST)
    assert read_manifest(run) is not None
    assert not (run / "manifest.json").exists()
    write_run(run, ledger="new")
    assert contents(run) == {"ledger": "new"}


READER = """
import json, os, sys
folder = sys.argv[1]
print("reading", flush=True)
states = set()
while True:
    descriptor = os.open(folder, os.O_RDONLY)
    def read(name):
        with open(os.open(name, os.O_RDONLY, dir_fd=descriptor)) as file:
            return file.read()
    try:
        listed = json.loads(read("manifest.json"))["files"]
        texts = {read(name) for name in listed if name != "manifest.json"}
    except FileNotFoundError:
        # Replaced, and gone before it was read: the path itself always leads to a whole run.
        assert os.path.exists(os.path.join(folder, "manifest.json")), "no run there"
        continue
    finally:
        os.close(descriptor)
    assert len(texts) == 1, texts
    states |= texts
    if "last" in states:
        break
"""


@pytest.mark.system
def test_a_reader_sees_the_old_run_or_the_new_one_and_never_none(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="0", evidence__exact="0")
    with subprocess.Popen(
        [sys.executable, "-c", READER, str(run)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True,
    ) as reader:  # fmt: skip
        assert reader.stdout is not None
        reader.stdout.readline()
        for number in range(200):
            write_run(run, ledger=str(number), evidence__exact=str(number))
        write_run(run, ledger="last", evidence__exact="last")
        _, stderr = reader.communicate(timeout=1_800)
    assert reader.returncode == 0, stderr


REMOVALS = """
import os, sys
from itertools import count
from pathlib import Path
from tests.runs.test_publish import contents, names, write_run

# The system decides in which order a folder's entries are removed: some come before the manifest.
def files(text):
    return {f"folder-{number}__file": text for number in range(8)}

def stop_before_removal(number):
    removals = count()
    def hook(event, args):
        if event in ("os.remove", "os.rmdir") and next(removals) == number:
            os._exit(9)
    sys.addaudithook(hook)

for number in count():
    run = Path(sys.argv[1]) / str(number) / "run"
    write_run(run, **files("old"))
    (run / "notes.txt").write_text("mine")
    child = os.fork()
    if child == 0:
        stop_before_removal(number)
        write_run(run, **files("new"))
        os._exit(0)
    stopped = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    write_run(run, ledger="last")
    assert contents(run) == {"ledger": "last", "notes.txt": "mine"}
    assert names(run.parent) == ["run"], (number, names(run.parent))
    if not stopped:
        print(number)
        break
"""


@pytest.mark.system
def test_a_kill_between_any_two_removals_leaves_nothing_behind(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", REMOVALS, str(tmp_path)], capture_output=True, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 16


@pytest.mark.parametrize("manifest", ["", '{"name": "a", "files": ["led'])
def test_a_kill_while_the_manifest_is_written_leaves_nothing_behind(
    tmp_path: Path, manifest: str, way: str
) -> None:
    def build(staging: Path) -> None:
        writer({"ledger": "half", "proof": "half"})(staging)
        (staging / "manifest.json").write_text(manifest)
        os._exit(9)

    run = tmp_path / "run"
    write_run(run, ledger="old")
    child = os.fork()
    if child == 0:
        with locked(run) as lock:
            publish(run, lock, build)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    assert contents(run) == {"ledger": "old"} or way == "in place"
    write_run(run, ledger="new")
    assert contents(run) == {"ledger": "new"}
    assert names(tmp_path) == ["run"]


LOOP = """
import sys
from itertools import count
from pathlib import Path
from tests.runs.test_publish import write_run
print("writing", flush=True)
for number in count():
    write_run(Path(sys.argv[1]), ledger=str(number), evidence__exact=str(number))
"""


@pytest.mark.system
def test_a_kill_at_any_moment_leaves_a_whole_run(tmp_path: Path) -> None:
    run = tmp_path / "run"
    write_run(run, ledger="0", evidence__exact="0")
    (run / "notes.txt").write_text("mine")
    for kill in range(5):
        process = subprocess.Popen(
            [sys.executable, "-c", LOOP, str(run)], stdout=subprocess.PIPE, text=True,
            cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(0.003 * kill)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        listed = [name for name in listed_files(run) if name != "manifest.json"]
        assert listed == ["evidence/exact", "ledger"]
        assert len({(run / name).read_text() for name in listed}) == 1
    write_run(run, ledger="new", evidence__exact="new")
    assert contents(run) == {"ledger": "new", "evidence/exact": "new", "notes.txt": "mine"}
    assert names(tmp_path) == ["run"]
