"""The store: a step runs once, a damaged artifact is rebuilt, a killed run resumes."""

from __future__ import annotations

import json
import multiprocessing
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from curate.core import wholeness
from curate.core.digests import digest_file, digest_of
from curate.core.errors import UserError
from curate.core.store import Artifact, Store, key_of, write_json

Edit = Callable[[Path], object]


@dataclass(frozen=True)
class Step:
    """Something to store: `runtime` is no part of its key."""

    name: str
    version: int
    function: Callable[[Path, Any, Any, Any], dict[str, Any]]
    inputs: Mapping[str, Artifact] = field(default_factory=dict)
    params: Mapping[str, Any] = field(default_factory=dict)
    runtime: Mapping[str, Any] = field(default_factory=dict)

    @property
    def reads(self) -> list[Artifact]:
        return [*self.inputs.values()]

    @property
    def key(self) -> str:
        return key_of(self)

    def write(self, out: Path) -> dict[str, Any]:
        return self.function(out, self.inputs, self.params, self.runtime)


def write_numbers(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
    """Write two files, one below a folder; note the call where the runtime says."""
    numbers = random.Random(params["seed"]).choices(range(100), k=200)
    (out / "deep").mkdir()
    (out / "numbers.txt").write_text(" ".join(map(str, numbers)))
    (out / "deep" / "sum.txt").write_text(str(sum(numbers)))
    if "calls" in runtime:
        with Path(runtime["calls"]).open("a") as log:
            log.write("x")
    time.sleep(runtime.get("sleep", 0))
    return {"rows_out": len(numbers)}


def numbers_step(seed: int = 1, **runtime: Any) -> Step:
    return Step("numbers", 1, write_numbers, {}, {"seed": seed}, runtime)


def content(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file but the manifest, which holds times."""
    return {
        p.relative_to(folder).as_posix(): p.read_bytes()
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p.name != "manifest.json"
    }


def flip_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.fixture
def calls(tmp_path: Path) -> Path:
    path = tmp_path / "calls"
    path.touch()
    return path


def test_a_step_runs_once_whoever_asks(store: Store, calls: Path) -> None:
    first = store.ensure(numbers_step(calls=str(calls)))
    again = store.ensure(numbers_step(calls=str(calls)))
    other = Store(store.root).ensure(numbers_step(calls=str(calls)))
    assert calls.read_text() == "x"
    assert [first.cached, again.cached, other.cached] == [False, True, True]
    assert replace(again, cached=False) == first == replace(other, cached=False)
    assert first.counts == {"rows_out": 200}
    assert set(first.files) == {"numbers.txt", "deep/sum.txt"}


@pytest.mark.parametrize("name", ["numbers.txt", "deep/sum.txt", "manifest.json"])
@pytest.mark.parametrize("damage", [Path.unlink, truncate, lambda p: p.write_bytes(b"")])
def test_a_damaged_artifact_is_rebuilt(store: Store, calls: Path, damage: Edit, name: str) -> None:
    artifact = store.ensure(numbers_step())
    whole = content(artifact.path)
    damage(artifact.path / name)
    assert store.find(numbers_step()) is None
    rebuilt = store.ensure(numbers_step(calls=str(calls)))
    assert not rebuilt.cached
    assert rebuilt.digest == artifact.digest
    assert content(rebuilt.path) == whole
    assert calls.read_text() == "x"


@pytest.mark.parametrize("name", ["numbers.txt", "deep/sum.txt"])
def test_a_flipped_bit_of_the_same_size_is_found(store: Store, name: str) -> None:
    artifact = store.ensure(numbers_step())
    whole = content(artifact.path)
    flip_byte(artifact.path / name)
    assert content(artifact.path) != whole
    assert content(store.ensure(numbers_step()).path) == whole


def test_a_damaged_artifact_that_was_trusted_is_trusted_no_longer(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a bit has flipped on a disk, of which the file system knows nothing."""
    monkeypatch.setattr(wholeness, "SMALL_BYTES", 0)
    artifact = store.ensure(numbers_step())
    flip_byte(artifact.path / "numbers.txt")
    record = store.root / "verified" / artifact.path.name
    record.parent.mkdir(exist_ok=True)
    record.write_text(wholeness._stamp(artifact.path, artifact.files)[0])
    assert store.find(numbers_step()) is not None
    assert store.damage(artifact.path.name) == ["numbers.txt"]
    assert store.find(numbers_step()) is None


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "3", "{}", '{"files": 3}', "\ufffd"])
def test_a_broken_manifest_is_as_good_as_none(store: Store, text: str) -> None:
    artifact = store.ensure(numbers_step())
    (artifact.path / "manifest.json").write_text(text)
    assert not store.ensure(numbers_step()).cached
    assert store.ensure(numbers_step()).cached


CHANGES = {
    "counts": {"rows_out": 201},
    "seconds": 0.5,
    "peak_memory_mb": 1.0,
    "params": {"seed": 2},
    "inputs": {"rows": "0" * 32},
    "version": 2,
    "versions": {"polars": "1.0.0"},
    "digest": "0" * 32,
    "files": {},
    "another": None,
}


@pytest.mark.parametrize("name", CHANGES)
def test_whatever_a_manifest_tells_is_as_it_was_written(store: Store, name: str) -> None:
    """Also figures that no later step takes its key from: reports and estimates read them."""
    artifact = store.ensure(numbers_step())
    path = artifact.path / "manifest.json"
    write_json(path, orjson.loads(path.read_bytes()) | {name: CHANGES[name]})
    assert store.find(numbers_step()) is None
    again = store.ensure(numbers_step())
    assert (again.digest, again.counts, again.files) == (
        artifact.digest,
        artifact.counts,
        artifact.files,
    )
    assert store.ensure(numbers_step()).cached


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_changed_byte_anywhere_in_a_manifest_is_noticed(
    store: Store, data: st.DataObject
) -> None:
    path = store.ensure(numbers_step()).path / "manifest.json"
    whole = path.read_bytes()
    at = data.draw(st.integers(0, len(whole) - 1))
    byte = data.draw(st.integers(0, 255).filter(lambda value: value != whole[at]))
    path.write_bytes(whole[:at] + bytes([byte]) + whole[at + 1 :])
    assert store.find(numbers_step()) is None
    path.write_bytes(whole)
    assert store.find(numbers_step()) is not None


def test_equal_files_have_the_same_digest_whatever_else_their_manifests_tell(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seconds, memory and library versions are told, and change no key."""
    one = store.ensure(numbers_step())
    monkeypatch.setattr("curate.core.store.library_versions", lambda: {"polars": "1.0.0"})
    other = Store(tmp_path / "other").ensure(numbers_step(sleep=0.01))
    assert (one.key, one.digest) == (other.key, other.digest)
    assert one.versions["polars"] != other.versions["polars"] == "1.0.0"


@pytest.mark.parametrize("below", [".", "deep/er"])
def test_a_store_that_can_be_no_folder_is_one_sentence(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    root = tmp_path / "file" / below
    with pytest.raises(
        UserError,
        match=rf"^{root} cannot be a folder \(.+\); name another folder as the recipe's `store`",
    ):
        Store(root)


def test_the_key_changes_with_all_that_can_change_bytes_and_nothing_else(store: Store) -> None:
    one, two = store.ensure(numbers_step(1)), store.ensure(numbers_step(2))
    step = Step("s", 1, write_numbers, {"rows": one}, {"seed": 1, "deep": {"a": [1, 2]}})
    changed = [
        replace(step, name="t"),
        replace(step, version=2),
        replace(step, params={"seed": 2, "deep": {"a": [1, 2]}}),
        replace(step, params={"seed": 1, "deep": {"a": [2, 1]}}),
        replace(step, params={"seed": 1}),
        replace(step, params={"seed": 1.0, "deep": {"a": [1, 2]}}),
        replace(step, inputs={"rows": two}),
        replace(step, inputs={"eval": one}),
        replace(step, inputs={"rows": one, "eval": one}),
        replace(step, inputs={}),
    ]
    assert len({step.key, *(s.key for s in changed)}) == len(changed) + 1
    same = [
        replace(step, runtime={"folder": "/elsewhere", "threads": 8}),
        replace(step, params={"deep": {"a": [1, 2]}, "seed": 1}),
        replace(step, function=content),  # type: ignore[arg-type]
    ]
    assert {s.key for s in same} == {step.key}


def test_the_key_follows_the_content_of_inputs_not_how_they_came_about(store: Store) -> None:
    """An input that another code version made with the same bytes changes nothing below it."""
    old = store.ensure(numbers_step())
    new = store.ensure(replace(numbers_step(), version=2))
    assert old.key != new.key
    below = [Step("below", 1, write_numbers, {"rows": a}, {"seed": 1}).key for a in (old, new)]
    assert below[0] == below[1]


def test_the_key_does_not_depend_on_where_the_store_lies(tmp_path: Path) -> None:
    artifacts = [Store(tmp_path / name).ensure(numbers_step()) for name in ("a", "b/c")]
    assert artifacts[0].key == artifacts[1].key
    assert artifacts[0].digest == artifacts[1].digest
    assert content(artifacts[0].path) == content(artifacts[1].path)


def test_a_failing_step_leaves_nothing_behind_and_is_tried_again(store: Store, calls: Path) -> None:
    def fail(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        (out / "half.txt").write_text("half")
        raise ValueError("the disk is on fire")

    with pytest.raises(ValueError, match="the disk is on fire"):
        store.ensure(replace(numbers_step(), function=fail))
    assert [p for p in store.root.rglob("*") if p.is_file()] == []
    assert list((store.root / "tmp").iterdir()) == []
    assert not store.ensure(numbers_step(calls=str(calls))).cached
    assert calls.read_text() == "x"


def test_asking_for_a_file_that_is_not_there_names_those_that_are(store: Store) -> None:
    with pytest.raises(KeyError, match=r"no file rows.parquet; it has \['deep/sum.txt', 'num"):
        store.ensure(numbers_step()).file("rows.parquet")


def _ensure_in_child(root: str, barrier: Any, results: Any) -> None:
    def write_together(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        barrier.wait(600)
        return write_numbers(out, inputs, params, runtime)

    artifact = Store(Path(root)).ensure(replace(numbers_step(), function=write_together))
    results.put((artifact.cached, artifact.digest, sorted(content(artifact.path).items())))


@pytest.mark.system
def test_processes_that_build_the_same_artifact_at_once_all_get_a_whole_one(
    store: Store,
) -> None:
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    barrier: Any = context.Barrier(2)
    children = [
        context.Process(target=_ensure_in_child, args=(str(store.root), barrier, results))
        for _ in range(2)
    ]
    for child in children:
        child.start()
    got = [results.get(timeout=1_800) for _ in children]
    for child in children:
        child.join(600)
    assert [child.exitcode for child in children] == [0, 0]
    assert got[0] == got[1]
    assert not got[0][0], "both were to build it"
    assert store.ensure(numbers_step()).cached
    assert list((store.root / "tmp").iterdir()) == []


KILLED = """
import os, sys, time
from pathlib import Path
sys.path[:0] = [{root!r}]
from curate.core.store import Store
from tests.core.test_store import Step

def slowly(out, inputs, params, runtime):
    (out / "numbers.txt").write_text("1 2 3")
    print("started", flush=True)
    time.sleep(600)

Store(Path({store!r})).ensure(Step("numbers", 1, slowly, {{}}, {{"seed": 1}}, {{}}))
"""


@pytest.mark.system
def test_a_run_killed_in_a_step_resumes_to_the_same_bytes(store: Store, tmp_path: Path) -> None:
    code = KILLED.format(root=str(Path(__file__).parents[2]), store=str(store.root))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    assert child.stdout.readline() == "started\n"
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    assert [p.name for p in store.root.rglob("numbers.txt")], "the kill came before the file"
    assert store.find(numbers_step()) is None
    resumed = store.ensure(numbers_step())
    untouched = Store(tmp_path / "other").ensure(numbers_step())
    assert (resumed.key, resumed.digest) == (untouched.key, untouched.digest)
    assert content(resumed.path) == content(untouched.path)
    assert list((store.root / "tmp").iterdir()) == []


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(JSON, JSON)
def test_digests_are_equal_only_for_equal_values(a: Any, b: Any) -> None:
    same = json.dumps(a, sort_keys=True) == json.dumps(b, sort_keys=True)
    assert (digest_of(a) == digest_of(b)) == same


@given(st.dictionaries(st.text(max_size=4), JSON, min_size=2))
def test_digests_do_not_depend_on_the_order_of_keys(value: dict[str, Any]) -> None:
    assert digest_of(dict(reversed(value.items()))) == digest_of(value)


def test_file_digests_see_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"a" * 100_000)
    before = digest_file(path)
    flip_byte(path)
    assert digest_file(path) != before


def test_write_json_replaces_and_leaves_no_temporary_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    write_json(path, {"b": 1, "a": [True]})
    write_json(path, {"b": 2, "a": "é"})
    assert path.read_text() == '{\n  "a": "é",\n  "b": 2\n}\n'
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_the_manifest_tells_time_memory_and_the_keys_of_inputs(store: Store) -> None:
    below = store.ensure(numbers_step())
    artifact: Artifact = store.ensure(
        Step("next", 3, write_numbers, {"rows": below}, {"seed": 1}, {"sleep": 0.2})
    )
    manifest = orjson.loads((artifact.path / "manifest.json").read_bytes())
    assert manifest["inputs"] == {"rows": below.key}
    assert manifest["version"] == 3
    assert 0.2 <= artifact.seconds < 30
    assert 1 < artifact.peak_memory_mb < 100_000
