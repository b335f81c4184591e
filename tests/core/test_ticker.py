"""The ticker: jobs come again while their work goes on, and no longer."""

import subprocess
import sys
import threading
import time
from itertools import count
from types import FrameType
from typing import Any

import pytest

from curate.core.ticker import Ticker, ticker

DEADLINE = 600.0


def test_jobs_are_done_again_and_again_each_after_its_own_time() -> None:
    counts = {"often": 0, "never": 0}
    done = threading.Event()

    def often() -> None:
        counts["often"] += 1
        if counts["often"] == 3:
            done.set()

    def never() -> None:
        counts["never"] += 1

    with (clock := Ticker()).every(DEADLINE, never), clock.every(0.001, often):
        assert done.wait(DEADLINE)
    assert counts["never"] == 0


def test_a_job_that_comes_later_and_is_due_earlier_does_not_wait_for_the_other() -> None:
    done, clock = threading.Event(), Ticker()
    with clock.every(DEADLINE, lambda: None):
        # Long enough for the thread to lie down until the first is due.
        time.sleep(0.05)
        with clock.every(0.001, done.set):
            assert done.wait(DEADLINE)


def test_nothing_is_done_after_the_work_even_if_that_failed() -> None:
    calls: list[float] = []
    clock, done = Ticker(), threading.Event()
    with pytest.raises(ZeroDivisionError), clock.every(0.001, lambda: calls.append(0.0)):
        raise ZeroDivisionError
    # Behind what was under way as the work ended.
    with clock.every(0.001, done.set):
        assert done.wait(DEADLINE)
    count = len(calls)
    time.sleep(0.05)
    assert len(calls) == count


def test_a_job_that_fails_does_not_end_the_others() -> None:
    counts = {"failing": 0, "other": 0}
    done = threading.Event()

    def fail() -> None:
        counts["failing"] += 1
        raise OSError("no memory")

    def other() -> None:
        counts["other"] += 1
        if counts["failing"] > 1 and counts["other"] > 1:
            done.set()

    clock = Ticker()
    with clock.every(0.001, fail), clock.every(0.001, other):
        assert done.wait(DEADLINE)


def test_an_interrupt_anywhere_as_a_job_comes_or_goes_ends_no_other() -> None:
    clock, done = Ticker(), threading.Event()
    interrupts = sum(_is_interrupted(clock, at) for at in range(1_000))
    assert 10 < interrupts < 1_000

    def work() -> None:
        with clock.every(0.001, done.set):
            done.wait(DEADLINE)

    threading.Thread(target=work, daemon=True).start()
    assert done.wait(60)


def _is_interrupted(clock: Ticker, at: int) -> bool:
    """Interrupt a job before an instruction of a number, if there are so many."""
    numbers = count()

    def trace(frame: FrameType, event: str, argument: object) -> Any:
        frame.f_trace_opcodes = True
        if event == "opcode" and next(numbers) == at:
            raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with clock.every(DEADLINE, lambda: None):
            pass
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    return False


def test_a_process_has_one() -> None:
    assert ticker() is ticker()


FORK = """
import os, threading
from curate.core.ticker import ticker

def shows_life():
    done = threading.Event()
    with ticker().every(0.001, done.set):
        return done.wait(30)

assert shows_life()
child = os.fork()
if child == 0:
    os._exit(0 if shows_life() else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.mark.system
def test_a_process_that_was_forked_off_has_its_own() -> None:
    """The thread of the other does not come along."""
    done = subprocess.run([sys.executable, "-c", FORK], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
