"""`curate store`: what a store takes, what is damaged in it, and what no run needs any more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import fsspec
import pytest
from typer.testing import CliRunner

from curate.cli import app
from curate.config.recipe import Config
from curate.core import bucket
from curate.core.bucket import BucketStore, open_store
from curate.core.store import Store
from curate.core.workspace import workspace
from curate.pipeline.curation import run_curation
from curate.runs.housekeeping import (
    at_work,
    needed_names,
    store_usage,
    unneeded_entries,
    usage_lines,
)
from tests.core.test_store import content, flip_byte, numbers_step
from tests.report.realrun import FUZZY, finish, recipe, write_inputs
from tests.s3server import use_s3


@pytest.fixture
def runs(tmp_path: Path, tiny: Path) -> tuple[Path, Config]:
    """A folder with the run of a recipe, beside its store, and the recipe."""
    write_inputs(tmp_path)
    config = recipe(tmp_path, tiny, [{"method": "exact"}, FUZZY])
    finish(config, tmp_path / "runs" / "real")
    return tmp_path / "runs", config


@pytest.fixture(params=["folder", pytest.param("bucket", marks=pytest.mark.system)])
def kept_store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Store]:
    """A store of either kind with two artifacts."""
    address = str(tmp_path / "store")
    if request.param == "bucket":
        use_s3(monkeypatch, request.getfixturevalue("s3"))
        monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
        fsspec.filesystem("s3").clear_instance_cache()
        fsspec.filesystem("s3").mkdir(name := f"keep-{uuid4()}")
        address = f"s3://{name}/a/b"
    store = open_store(address)
    for seed in (1, 2):
        store.ensure(numbers_step(seed))
    yield store
    fsspec.filesystem("s3").clear_instance_cache()


def say(*arguments: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["store", *map(str, arguments)])
    return result.exit_code, result.output


def age(store: Store, days: float) -> None:
    """Let all of a folder be last used so many days ago."""
    then = time.time() - days * 24 * 3600
    for path in store.root.iterdir():
        os.utime(path, (then, then))


def damage(store: Store, name: str) -> None:
    """Flip a byte of a file of an artifact."""
    if not isinstance(store, BucketStore):
        flip_byte(store.root / name / "numbers.txt")
        return
    filesystem, root = fsspec.core.url_to_fs(store.address)
    [path] = [path for path in filesystem.find(f"{root}/{name}") if path.endswith("numbers.txt")]
    data = filesystem.cat_file(path)
    filesystem.pipe_file(path, data[:-1] + bytes([data[-1] ^ 1]))


def test_the_bytes_of_each_step_are_counted(kept_store: Store) -> None:
    size = sum(entry.bytes for entry in kept_store.entries())
    artifacts = [kept_store.find(numbers_step(seed)) for seed in (1, 2)]
    files = [path for a in artifacts if a for path in a.path.rglob("*") if path.is_file()]
    assert size == sum(path.stat().st_size for path in files)
    (kept_store.root / "completions.sqlite").write_bytes(b"x" * 300_000)
    code, text = say("du", kept_store.address)
    assert code == 0
    assert [line.split() for line in text.splitlines()] == [
        ["step", "artifacts", "MB"],
        ["numbers", "2", "0.0"],
        ["total", "2", "0.0"],
        ["answers", "of", "language", "models", "0.3"],
    ]


def test_damage_is_named_and_removed_on_demand(kept_store: Store) -> None:
    assert say("verify", kept_store.address) == (0, "0 artifacts damaged, 0.0 MB\n")
    first, second = kept_store.entries()
    damage(kept_store, second.name)
    code, text = say("verify", kept_store.address)
    assert code == 2
    assert text.startswith(f"{second.name}: numbers.txt damaged or missing\n1 artifact damaged")
    assert say("verify", kept_store.address, "--delete")[0] == 0
    assert [entry.name for entry in kept_store.entries()] == [first.name]
    assert say("verify", kept_store.address)[0] == 0
    assert {kept_store.ensure(numbers_step(seed)).unanswered for seed in (1, 2)} == {0}
    assert [entry.name for entry in kept_store.entries()] == [first.name, second.name]


def test_an_artifact_whose_manifest_is_gone_is_damaged(store: Store) -> None:
    name = store.ensure(numbers_step()).path.name
    (store.root / name / "manifest.json").unlink()
    assert say("verify", store.root)[1].startswith(f"{name}: manifest.json damaged or missing")


def test_what_was_used_lately_stays(kept_store: Store, tmp_path: Path) -> None:
    """A run at work has no folder yet."""
    assert unneeded_entries(kept_store, [tmp_path], days=7) == []
    assert len(unneeded_entries(kept_store, [tmp_path], days=0)) == 2
    assert say("gc", kept_store.address, "--run", tmp_path, "--delete")[0] == 0
    assert len(kept_store.entries()) == 2


def test_what_a_run_at_work_has_used_stays_until_it_ends(store: Store, tmp_path: Path) -> None:
    for seed in (1, 2):
        store.ensure(numbers_step(seed))
    age(store, 30)
    old = store.path_of(numbers_step(2)).name
    with at_work(store):
        used = store.ensure(numbers_step(1)).path.name
        assert [e.name for e in unneeded_entries(store, [tmp_path], days=0)] == [old]
    names = [e.name for e in unneeded_entries(store, [tmp_path], days=0)]
    assert sorted(names) == sorted([old, used])


def test_a_run_that_was_killed_keeps_nothing(store: Store, tmp_path: Path) -> None:
    store.ensure(numbers_step())
    code = (
        "import os, signal, sys; from pathlib import Path; from curate.core.store import Store\n"
        "from curate.runs.housekeeping import at_work\n"
        "with at_work(Store(Path(sys.argv[1]))): os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", code, str(store.root)])
    assert killed.returncode == -signal.SIGKILL
    assert len(list((store.root / "running").iterdir())) == 2
    assert len(unneeded_entries(store, [tmp_path], days=0)) == 1
    assert list((store.root / "running").iterdir()) == []


def test_using_an_artifact_renews_it(store: Store, tmp_path: Path) -> None:
    for seed in (1, 2):
        store.ensure(numbers_step(seed))
    age(store, 30)
    store.ensure(numbers_step(1))
    [entry] = unneeded_entries(store, [tmp_path], days=7)
    assert entry.name == store.path_of(numbers_step(2)).name


@pytest.mark.system
def test_using_an_artifact_of_a_bucket_renews_it_once_a_day(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch, s3)
    fsspec.filesystem("s3").clear_instance_cache()
    fsspec.filesystem("s3").mkdir("renewed")
    store = BucketStore("s3://renewed/x", tmp_path / "cache")
    store.ensure(numbers_step())
    [first] = store.entries()
    time.sleep(1.1)
    store.ensure(numbers_step())
    assert store.entries() == [first]
    monkeypatch.setattr(bucket, "RENEWAL_SECONDS", 0.0)
    store.ensure(numbers_step())
    [renewed] = store.entries()
    assert renewed.used > first.used


def test_what_a_run_folder_needs_stays_and_the_rest_goes(runs: tuple[Path, Config]) -> None:
    folder, config = runs
    store = open_store(config.store)
    needed = {entry.name for entry in store.entries()}
    assert needed_names([folder]) == needed_names([folder / "real"]) == needed
    with workspace(store.root / "tmp") as unfinished:
        (unfinished / "half.txt").write_text("half")
        other = store.ensure(numbers_step())
        (store.root / "notes").mkdir()
        age(store, 30)
        code, text = say("gc", store.root, "--run", folder)
        assert code == 0
        assert text.splitlines()[0].startswith(other.path.name)
        assert text.splitlines()[-1] == "--delete removes them"
        assert other.path.is_dir()
        assert say("gc", store.root, "--run", folder, "--delete")[0] == 0
        assert not other.path.exists()
        assert (unfinished / "half.txt").is_file()
    assert (store.root / "notes").is_dir()
    assert {entry.name for entry in store.entries()} == needed
    again = run_curation(config, folder / "real")
    assert all(stage["cached"] == stage["steps"] for stage in again.manifest["stages"])


def test_a_store_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    for command in ("du", "verify", "gc"):
        result = CliRunner().invoke(app, ["store", command, str(tmp_path / "gone")])
        assert "there is no such store" in str(result.exception)
    assert not (tmp_path / "gone").exists()


@pytest.mark.system
def test_a_run_over_a_store_with_damage_in_every_artifact_ends_in_the_same_bytes(
    runs: tuple[Path, Config], tmp_path: Path
) -> None:
    """Flipped or cut off, one after the other: rows, evidence, pairs, scores, ranking, exports."""
    folder, config = runs
    store = open_store(config.store)
    whole = {entry.name: content(store.root / entry.name) for entry in store.entries()}
    for number, (name, files) in enumerate(whole.items()):
        for file, data in files.items():
            path = store.root / name / file
            flip_byte(path) if number % 2 and data else os.truncate(path, len(data) // 2)
    again = run_curation(config, folder / "real")
    assert {entry.name: content(store.root / entry.name) for entry in store.entries()} == whole
    assert not any(stage["cached"] for stage in again.manifest["stages"])
    assert list(usage_lines(store_usage(store)))[-1].startswith("total")
