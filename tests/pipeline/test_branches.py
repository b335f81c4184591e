"""Parts of a run side by side: what it tells does not depend on which part ends first."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.calls import cached
from curate.core.store import Artifact, Computation, Store
from curate.pipeline.engine import SubmitOnce
from curate.pipeline.run import Run

CALLS: list[int] = []


@cached(version=1, name="test-slow-value")
def slow_value(value: int, seconds: float) -> pl.DataFrame:
    """Return a value, after a while."""
    CALLS.append(value)
    time.sleep(seconds)
    return pl.DataFrame({"value": [value]})


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose engine has two threads."""
    CALLS.clear()
    store, threads = Store(tmp_path / "store"), ThreadPoolExecutor(2)
    submit = SubmitOnce(lambda steps: [threads.submit(store.ensure, step).result for step in steps])

    def execute_all(steps: Sequence[Computation]) -> list[Artifact]:
        return [wait() for wait in submit(steps)]

    recipe = {"name": "x", "pool": [{"path": "pool.jsonl"}], "run": {"on": "threads"}}
    return Run(Config.model_validate(recipe), store, execute_all)


def values(run: Run) -> list[int]:
    """Return the values that a run has computed, in the order in which it tells them."""
    return [pl.read_parquet(a.file("slow_value.parquet"))["value"].item() for a in run.artifacts]


def test_a_run_tells_its_parts_in_their_order_and_what_they_share_once(run: Run) -> None:
    def part(branch: Run, number: int) -> int:
        branch.part = f"part-{number}"
        branch(slow_value, value=number, seconds=0.3 / (number + 1))
        branch(slow_value, value=9, seconds=0.1)
        return number

    assert run.side_by_side(part, [0, 1, 2]) == [0, 1, 2]
    assert values(run) == [0, 9, 1, 2]
    assert run.parts == ["part-0", "part-0", "part-1", "part-2"]
    assert sorted(CALLS) == [0, 1, 2, 9]
    run(slow_value, value=1, seconds=0.15)
    assert len(run.artifacts) == 4


def test_where_a_part_fails_the_others_end_at_their_next_step(run: Run) -> None:
    late: list[BaseException] = []
    failed = threading.Event()

    def part(branch: Run, number: int) -> None:
        if number == 0:
            failed.set()
            raise ValueError("the first part is at fault")
        failed.wait()
        try:
            for value in range(1000):
                branch(slow_value, value=value, seconds=0.01)
        except CancelledError as error:
            late.append(error)

    with pytest.raises(ValueError, match="the first part is at fault"):
        run.side_by_side(part, [0, 1])
    assert len(late) == 1
    assert len(CALLS) < 1000


def test_without_workers_the_parts_are_run_one_after_the_other(run: Run) -> None:
    inline = Run(
        run.config.model_copy(update={"run": Config.model_fields["run"].default}),
        run.store,
        lambda steps: [run.store.ensure(step) for step in steps],
    )
    threads = inline.side_by_side(lambda _, number: (number, threading.get_ident()), [1, 2])
    assert threads == [(1, threading.get_ident()), (2, threading.get_ident())]
