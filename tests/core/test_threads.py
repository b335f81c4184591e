"""Work in threads: results in order, few items at a time, a fault is the caller's."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator

import pytest

from curate.core.threads import in_threads, usable_cores


def test_results_come_in_the_order_of_the_items_whatever_ends_first() -> None:
    def wait(number: int) -> int:
        time.sleep(0.01 if number % 2 else 0)
        return number

    assert list(in_threads(wait, range(20), threads=4)) == list(range(20))


@pytest.mark.parametrize("threads", [1, 3])
def test_few_more_items_than_threads_are_taken_ahead(threads: int) -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(50):
            taken.append(number)
            yield number

    for done, _ in enumerate(in_threads(abs, items(), threads), start=1):
        assert len(taken) <= done + threads


def test_the_fault_of_an_item_ends_the_work() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_threads(lambda n: 1 // n, [1, 0, 1]))


@pytest.mark.skipif(
    not hasattr(os, "sched_setaffinity"), reason="a process is bound on Linux alone"
)
def test_a_process_bound_to_one_processor_has_one_core() -> None:
    bound = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(bound)})
        assert usable_cores() == 1
    finally:
        os.sched_setaffinity(0, bound)
    assert usable_cores() == len(bound)
