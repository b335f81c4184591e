"""Faults of the machine under a store: a full disk, one that is read-only, and two drivers at once."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from curate.core.store import Store
from tests.core.test_store import content, numbers_step

pytestmark = pytest.mark.system
REPO = Path(__file__).parents[2]
MOUNTS = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-ec"]
PIDS = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]
STEP = """
import sys, time
from dataclasses import replace
from pathlib import Path
sys.path[:0] = [{repo!r}]
from curate.core.faults import explain_fault
from curate.core.store import Store
from tests.core.test_store import numbers_step, write_numbers

def write_much(out, inputs, params, runtime):
    counts = write_numbers(out, inputs, params, runtime)
    (out / "much").write_bytes(b"x" * {size})
    (out / "much").unlink()
    return counts

def write_slowly(out, inputs, params, runtime):
    counts = write_numbers(out, inputs, params, runtime)
    print("half", flush=True)
    sys.stdin.readline()
    assert (out / "numbers.txt").is_file(), "the other driver has removed it"
    return counts

try:
    step = replace(numbers_step(), function={function})
    print(Store(Path({store!r})).ensure(step).cached, flush=True)
except Exception as error:
    print(explain_fault(error) or repr(error), flush=True)
"""


def code(store: Path, function: str, size: int = 0) -> str:
    return STEP.format(repo=str(REPO), store=str(store), function=function, size=size)


def can(*command: str) -> bool:
    return shutil.which(command[0]) is not None and not subprocess.call(command)


def output(*command: str) -> list[str]:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()


namespaces = pytest.mark.skipif(not can(*MOUNTS, "true"), reason="no namespaces of mounts here")


@namespaces
def test_a_full_disk_is_one_sentence_and_costs_nothing_that_is_finished(tmp_path: Path) -> None:
    full, fits = (code(tmp_path, "write_much", size) for size in (2**22, 2**10))
    for name, text in (("full.py", full), ("fits.py", fits)):
        (tmp_path.parent / name).write_text(text)
    runs = f"{sys.executable} {tmp_path.parent}"
    lines = output(
        *MOUNTS,
        f"mount -t tmpfs -o size=1m none {tmp_path}; {runs}/full.py; find {tmp_path} -type f;"
        f"{runs}/fits.py; {runs}/full.py",
    )
    sentence, *others = lines
    assert "the disk is full; free some space, and the same command goes on from there" in sentence
    assert others == ["False", "True"]


def test_a_limit_of_file_sizes_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "step.py").write_text(code(tmp_path / "store", "write_much", 2**22))
    [sentence] = output("sh", "-c", f"ulimit -f 1024; {sys.executable} {tmp_path}/step.py")
    assert "the file may not get that large (ulimit -f)" in sentence
    assert [path for path in (tmp_path / "store").rglob("*") if path.is_file()] == []
    assert not Store(tmp_path / "store").ensure(numbers_step()).cached


@namespaces
def test_a_read_only_store_gives_what_it_has_and_refuses_the_rest_in_one_sentence(
    tmp_path: Path,
) -> None:
    store = Store(tmp_path / "store")
    store.ensure(numbers_step())
    (tmp_path / "step.py").write_text(code(store.root, "write_much", 1))
    (tmp_path / "other.py").write_text(
        code(store.root, "write_much", 1).replace("numbers_step()", "numbers_step(2)")
    )
    mount = f"mount --bind {store.root} {store.root}; mount -o remount,bind,ro {store.root}"
    runs = f"{sys.executable} {tmp_path}"
    cached, sentence = output(*MOUNTS, f"{mount}; {runs}/step.py; {runs}/other.py")
    assert cached == "True"
    assert sentence.endswith(
        "the file system is read-only; give a path that can be written; name another folder as the "
        "recipe's `store`"
    )
    assert str(store.root) in sentence


@pytest.mark.skipif(not can(*PIDS, "true"), reason="no namespaces of processes here")
def test_two_drivers_in_two_containers_on_one_store_leave_each_others_work_alone(
    tmp_path: Path,
) -> None:
    """To each, the other's process is not there; both are half done when the other one starts."""
    program = [sys.executable, "-c", code(tmp_path / "store", "write_slowly")]
    drivers = [
        subprocess.Popen(
            [*PIDS, *program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    for driver in drivers:
        assert driver.stdout is not None
        assert driver.stdout.readline() == "half\n"
    third = Store(tmp_path / "store").ensure(numbers_step(2))
    assert not third.cached
    assert [driver.communicate("go on\n", timeout=1_800)[0] for driver in drivers] == [
        "False\n"
    ] * 2
    store = Store(tmp_path / "store")
    again = store.ensure(numbers_step())
    assert again.cached
    assert content(again.path) == content(Store(tmp_path / "other").ensure(numbers_step()).path)
    assert list((store.root / "tmp").iterdir()) == []
