"""A store in a bucket: of a real S3 server on this machine, with and without faults."""

from __future__ import annotations

import pickle
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import fsspec
import pytest

from curate.core import remotefolder
from curate.core.bucket import BucketStore, open_store
from curate.core.checksummed import dump_checksummed, load_checksummed
from curate.core.errors import UserError
from curate.core.store import Store
from tests.core.test_store import Step, content, flip_byte, numbers_step, truncate, write_numbers
from tests.httpserver import serving
from tests.s3server import FlakyProxy, faults_between, use_s3

pytestmark = pytest.mark.system
Stores = Callable[[str], BucketStore]


@pytest.fixture
def stores(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stores]:
    """Machines by their names: stores on one bucket, each with a folder of its own."""
    use_s3(monkeypatch, s3)
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(remotefolder, "PAUSES", (0.01, 0.01))
    fsspec.filesystem("s3").clear_instance_cache()
    name = f"store-{uuid4()}"
    fsspec.filesystem("s3").mkdir(name)
    yield lambda machine: BucketStore(f"s3://{name}/curate", tmp_path / machine)
    fsspec.filesystem("s3").clear_instance_cache()


def listing(store: BucketStore) -> list[str]:
    filesystem, root = fsspec.core.url_to_fs(store.address)
    filesystem.invalidate_cache()
    return sorted(path.removeprefix(f"{root}/") for path in filesystem.find(root))


def change(store: BucketStore, end: str, edit: Callable[[Path], object], tmp: Path) -> None:
    """Edit a file of the bucket."""
    filesystem, root = fsspec.core.url_to_fs(store.address)
    [name] = [name for name in listing(store) if name.endswith(end)]
    filesystem.get_file(f"{root}/{name}", str(tmp / "edited"))
    edit(tmp / "edited")
    filesystem.put_file(str(tmp / "edited"), f"{root}/{name}")


def test_what_one_machine_makes_another_finds(stores: Stores) -> None:
    one, two = stores("one"), stores("two")
    first = one.ensure(numbers_step())
    assert not first.cached
    again = two.ensure(numbers_step())
    assert again.cached
    assert (again.digest, content(again.path)) == (first.digest, content(first.path))
    assert again.path.is_relative_to(two.root)
    folder = first.path.name
    assert listing(one) == [
        f"{folder}/{first.digest}/deep/sum.txt",
        f"{folder}/{first.digest}/numbers.txt",
        f"{folder}/manifest.json",
    ]
    assert list((one.root / "tmp").iterdir()) == list((two.root / "tmp").iterdir()) == []


def test_a_store_is_opened_by_its_url_and_goes_to_a_worker(stores: Stores, tmp_path: Path) -> None:
    store = open_store(stores("one").address)
    assert isinstance(store, BucketStore)
    assert store.root.is_relative_to(tmp_path / "cache" / "stores")
    assert store.address == stores("one").address
    store.ensure(numbers_step())
    sent = pickle.loads(pickle.dumps(store))
    assert sent.root == store.root
    assert sent.find(numbers_step()) == store.find(numbers_step())
    assert isinstance(open_store(str(tmp_path / "folder")), Store)


def test_a_worker_brings_what_a_step_reads(stores: Stores, tmp_path: Path) -> None:
    """Where it lies on the driver, since both have their folder at the same path."""
    driver = stores("cache")
    below = driver.ensure(numbers_step())
    driver.root.rename(tmp_path / "driver")

    def write_sum(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        (out / "sum.txt").write_text(inputs["rows"].file("deep/sum.txt").read_text())
        return {}

    worker = stores("cache")
    total = worker.ensure(Step("sum", 1, write_sum, {"rows": below})).file("sum.txt")
    on_driver = tmp_path / "driver" / below.path.name / "deep" / "sum.txt"
    assert total.read_text() == on_driver.read_text()


def test_the_first_of_two_machines_prevails(stores: Stores) -> None:
    """Also where a step does not give the same bytes twice, such as one that asks a model."""
    one, two = stores("one"), stores("two")

    def write_later(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        first.append(one.ensure(numbers_step()))
        (out / "numbers.txt").write_text("other")
        return {}

    first: list[Any] = []
    late = two.ensure(replace(numbers_step(), function=write_later))
    assert content(late.path) == content(first[0].path) != {"numbers.txt": b"other"}
    assert late.digest == first[0].digest
    assert content(stores("three").ensure(numbers_step()).path) == content(late.path)


def test_a_folder_that_differs_from_the_bucket_follows_it(stores: Stores, s3: str) -> None:
    one, two = stores("one"), stores("two")
    write = lambda out, *rest: (out / "numbers.txt").write_text("own") and {}  # noqa: E731
    Store(two.root).ensure(replace(numbers_step(), function=write))
    first = one.ensure(numbers_step())
    assert content(two.ensure(numbers_step()).path) == content(first.path)


def test_what_the_bucket_lost_is_put_back_from_the_folder(stores: Stores) -> None:
    one = stores("one")
    first = one.ensure(numbers_step())
    filesystem, root = fsspec.core.url_to_fs(one.address)
    filesystem.rm(root, recursive=True)
    assert one.find(numbers_step()) is None
    assert one.ensure(numbers_step()).cached
    assert content(stores("two").ensure(numbers_step()).path) == content(first.path)


@pytest.mark.parametrize("end", ["numbers.txt", "deep/sum.txt", "manifest.json"])
@pytest.mark.parametrize("damage", [flip_byte, truncate, lambda path: path.write_bytes(b"")])
def test_what_is_damaged_in_the_bucket_is_made_again_and_mended(
    stores: Stores, tmp_path: Path, end: str, damage: Callable[[Path], object]
) -> None:
    first = stores("one").ensure(numbers_step())
    change(stores("one"), end, damage, tmp_path)
    two = stores("two")
    assert two.find(numbers_step()) is None
    again = two.ensure(numbers_step())
    assert not again.cached
    assert content(again.path) == content(first.path)
    three = stores("three").ensure(numbers_step())
    assert three.cached
    assert content(three.path) == content(first.path)


def test_an_input_that_is_gone_everywhere_is_one_sentence(stores: Stores, tmp_path: Path) -> None:
    driver = stores("cache")
    below = driver.ensure(numbers_step())
    driver.remove(below.path.name)
    driver.root.rename(tmp_path / "driver")
    with pytest.raises(UserError, match=rf"curate/{below.path.name} is gone or was replaced; run"):
        stores("cache").ensure(Step("sum", 1, write_numbers, {"rows": below}, {"seed": 1}))


def test_what_another_machine_is_putting_is_left_alone(stores: Stores) -> None:
    """Its files are there, its manifest is not yet."""
    store = stores("one")
    name = store.ensure(numbers_step()).path.name
    filesystem, root = fsspec.core.url_to_fs(store.address)
    filesystem.rm_file(f"{root}/{name}/manifest.json")
    assert listing(store)
    assert store.entries() == []


def test_what_the_bucket_has_prevails_when_it_is_fetched(stores: Stores) -> None:
    one, two = stores("one"), stores("two")
    write = lambda out, *rest: (out / "numbers.txt").write_text("own") and {}  # noqa: E731
    Store(two.root).ensure(replace(numbers_step(), function=write))
    first = one.ensure(numbers_step())
    fetched = two.fetch(first.path.name)
    assert fetched is not None
    assert content(fetched.path) == content(first.path)


@pytest.mark.parametrize("name", ["../../escaped.txt", "/tmp/escaped.txt"])
def test_a_manifest_that_leads_out_of_its_folder_is_damaged(
    stores: Stores, tmp_path: Path, name: str
) -> None:
    def mislead(path: Path) -> None:
        manifest = load_checksummed(path.read_bytes())
        manifest["files"] = {name: manifest["files"]["numbers.txt"]}
        path.write_bytes(dump_checksummed(manifest))

    stores("one").ensure(numbers_step())
    change(stores("one"), "manifest.json", mislead, tmp_path)
    assert stores("two").find(numbers_step()) is None
    assert not list(tmp_path.rglob("escaped.txt"))


def test_answers_that_a_model_owes_are_asked_for_again(stores: Stores) -> None:
    def owe(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        return {**write_numbers(out, inputs, params, runtime), "llm": {"unanswered": 2}}

    assert stores("one").ensure(replace(numbers_step(), function=owe)).unanswered == 2
    assert stores("two").find(numbers_step()) is None
    assert not stores("two").ensure(numbers_step()).unanswered
    assert stores("one").ensure(numbers_step()).cached


# --- faults -------------------------------------------------------------------------------------


@pytest.fixture
def flaky(stores: Stores, s3: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | int]]:
    """The faults of the next requests."""
    with faults_between(s3, monkeypatch) as faults:
        yield faults


@pytest.mark.parametrize("fault", [500, 503, "cut", "half"])
@pytest.mark.parametrize("at", range(5))
def test_a_fault_of_a_moment_is_got_over(
    stores: Stores, flaky: list[str | int], fault: str | int, at: int
) -> None:
    """At any request of a step that is made, and of one that is found."""
    passing: list[Any] = [None] * at
    flaky += [*passing, fault]
    first = stores("one").ensure(numbers_step())
    flaky[:] = [*passing, fault]
    again = stores("two").ensure(numbers_step())
    assert again.cached
    assert content(again.path) == content(first.path)


@pytest.mark.parametrize("fault", [500, 503, "cut"])
def test_a_bucket_that_fails_for_good_is_one_sentence_and_loses_nothing(
    stores: Stores, flaky: list[str | int], fault: str | int
) -> None:
    store = stores("one")
    flaky += [fault] * 200
    with pytest.raises(
        UserError, match=r"^store: s3://store-[0-9a-f-]+/curate: cannot be reached"
    ) as caught:
        store.ensure(numbers_step())
    assert "\n" not in str(caught.value)
    flaky.clear()
    assert not store.ensure(numbers_step()).cached
    assert list((store.root / "tmp").iterdir()) == []


def test_a_refusal_is_one_sentence_at_once(stores: Stores, flaky: list[str | int]) -> None:
    flaky += [403] * 200
    with pytest.raises(UserError, match=r"/curate: may not be used as a store .*AWS_ACCESS_KEY_ID"):
        stores("one").ensure(numbers_step())
    assert len(flaky) > 190, "it was asked again"


def test_a_bucket_that_may_only_be_read_gives_what_it_has_and_refuses_the_rest(
    stores: Stores, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores("one").ensure(numbers_step())
    handler = type("ReadOnly", (FlakyProxy,), {"refused": ["PUT"], "server_address": s3})
    with serving(handler) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        fsspec.filesystem("s3").clear_instance_cache()
        two = stores("two")
        assert two.ensure(numbers_step()).cached
        with pytest.raises(UserError, match="may not be used as a store"):
            two.ensure(numbers_step(2))


def test_no_keys_are_one_sentence(
    stores: Stores, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    fsspec.filesystem("s3").clear_instance_cache()
    with pytest.raises(UserError, match=r"may not be used as a store .*set AWS_ACCESS_KEY_ID"):
        stores("one").ensure(numbers_step())


def test_no_such_bucket_is_one_sentence(stores: Stores, tmp_path: Path) -> None:
    store = BucketStore("s3://no-such-bucket-here/curate", tmp_path / "one")
    with pytest.raises(
        UserError, match="store: s3://no-such-bucket-here/curate: there is no such buck"
    ):
        store.ensure(numbers_step())


# --- processes that end -------------------------------------------------------------------------

# Imports take a second, so that each driver is a fork of a process that has done them.
DRIVER = """
import os, signal, sys
from pathlib import Path
sys.path[:0] = [{repo!r}]
import s3fs
from curate.core import remotefolder
from curate.core.bucket import BucketStore
from curate.core.faults import explain_fault
from tests.core.test_store import Step, numbers_step, write_numbers

def drive(kill_at):
    requests, ask = [], remotefolder.RemoteFolder._ask

    def counted(self, request):
        requests.append(request)
        if len(requests) == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return ask(self, request)

    remotefolder.RemoteFolder._ask = counted
    try:
        store = BucketStore({url!r}, Path({root!r}))
        below = store.ensure(numbers_step())
        store.ensure(Step("next", 1, write_numbers, {{"rows": below}}, {{"seed": 2}}))
        print("done", len(requests), flush=True)
    except Exception as error:
        print(explain_fault(error) or repr(error), flush=True)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        drive(int(line))
        os._exit(0)
    print("status", os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
Driver = Callable[[int], tuple[int, str]]


@contextmanager
def driver(store: BucketStore, limit: str = "unlimited") -> Iterator[Driver]:
    """Yield what gives status and output of a process that makes two steps, killed before a request."""
    code = DRIVER.format(
        repo=str(Path(__file__).parents[2]), url=store.address, root=str(store.root)
    )
    command = ["sh", "-c", f'ulimit -f {limit}; exec {sys.executable} -c "$0"', code]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        lines_in, lines_out = process.stdin, process.stdout

        def drive(kill_at: int) -> tuple[int, str]:
            print(kill_at, file=lines_in, flush=True)
            *lines, status = until(lines_out, "status ")
            return int(status.split()[1]), "".join(lines)

        yield drive
        lines_in.close()


def until(lines: Iterable[str], start: str) -> list[str]:
    """Return lines up to the first that starts so."""
    read = []
    for line in lines:
        read.append(line)
        if line.startswith(start):
            return read
    raise EOFError(f"the driver ended: {read}")


def test_a_driver_killed_before_any_request_leaves_what_others_complete(
    stores: Stores, tmp_path: Path
) -> None:
    """Nothing half-put is taken for whole, on its own machine or another, whatever it had put."""
    plain = Store(tmp_path / "plain")
    below = plain.ensure(numbers_step())
    above = plain.ensure(Step("next", 1, write_numbers, {"rows": below}, {"seed": 2}))
    store, kills = stores("one"), 0
    with driver(store) as drive:
        while (ended := drive(kills + 1))[0] == -signal.SIGKILL:
            kills += 1
            other = stores(f"other-{kills}")
            assert content(other.ensure(numbers_step()).path) == content(below.path)
            for entry in other.entries():
                other.remove(entry.name)
    assert ended[1].startswith("done")
    assert kills >= 6
    whole = stores("last").find(numbers_step())
    assert whole is not None
    assert content(whole.path) == content(below.path)
    name = above.path.name
    assert content(store.root / name) == content(above.path)
    assert list((store.root / "tmp").iterdir()) == []


def test_a_full_folder_of_this_machine_is_one_sentence_at_once(stores: Stores) -> None:
    """No request is sent again for it: the bucket has no part in it."""

    def write_much(out: Path, inputs: Any, params: Any, runtime: Any) -> dict[str, Any]:
        (out / "much").write_bytes(b"x" * 2**22)
        return {}

    stores("one").ensure(replace(numbers_step(), function=write_much))
    with driver(stores("two"), limit="1024") as drive:
        status, text = drive(0)
    assert status == 0
    assert "the file may not get that large (ulimit -f)" in text
    assert list((stores("two").root / "tmp").iterdir()) == []
