"""The process that compares expressions: hostile ones end it and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from curate.answers.checkers import AnswerVerdict, check_answer
from curate.answers.mathanswers import MathWorker

THREE_QUARTERS = (r"\frac{3}{4}", "0.75")


@pytest.fixture(scope="module")
def worker() -> Iterator[MathWorker]:
    worker = MathWorker(seconds=1)
    yield worker
    worker.close()


def process_of(worker: MathWorker) -> int:
    assert worker._process is not None
    return worker._process.pid


@pytest.mark.system
def test_one_process_compares_all_pairs_with_the_gold_answer_first(worker: MathWorker) -> None:
    assert worker.compare(*THREE_QUARTERS) is True
    first = process_of(worker)
    assert worker.compare("x^2+9", "x^2+7") is False
    assert worker.compare("x^2+9") is True and worker.compare("") is None
    assert worker.compare("x = 5", "5") is True
    assert process_of(worker) == first


@pytest.mark.system
@pytest.mark.parametrize(
    "hostile",
    ["9^{9^{9^{9}}}", r"\frac{2^{2^{40}}}{7}", "(" * 300 + "x" + ")" * 300],
)
def test_a_hostile_expression_neither_hangs_nor_eats_memory_and_the_next_pair_is_compared(
    worker: MathWorker, hostile: str
) -> None:
    assert worker.compare(*THREE_QUARTERS) is True
    process = psutil.Process(process_of(worker))
    started = time.monotonic()
    assert worker.compare(hostile, "1") is not True
    assert time.monotonic() - started < 100
    if process.is_running():
        assert process.memory_info().rss < 2**30
    assert worker.compare(*THREE_QUARTERS) is True


@pytest.mark.system
def test_a_process_that_was_ended_is_started_again(worker: MathWorker) -> None:
    assert worker.compare(*THREE_QUARTERS) is True
    first = process_of(worker)
    os.kill(first, 9)
    # Ended before or while the pair is sent: at the latest the pair after it is compared.
    worker.compare(*THREE_QUARTERS)
    assert worker.compare(*THREE_QUARTERS) is True
    assert process_of(worker) != first


def test_a_text_that_is_too_long_is_not_sent() -> None:
    worker = MathWorker()
    assert worker.compare("x" * 2_000, "1") is None
    assert worker._process is None


@pytest.mark.system
def test_the_process_sees_no_keys_and_ends_with_its_parent(tmp_path: Path) -> None:
    program = (
        "import os; from curate.answers.mathanswers import MathWorker\n"
        "w = MathWorker(); assert w.compare('1', '1.0') is True\n"
        "pid = w._process.pid; assert b'SECRET' not in open(f'/proc/{pid}/environ', 'rb').read()\n"
        "print(pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"SECRET_KEY": "x"}, capture_output=True,
        text=True, timeout=1_800,
    )  # fmt: skip
    child = int(done.stdout)
    deadline = time.monotonic() + 600
    while psutil.pid_exists(child) and psutil.Process(child).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, "it outlived its parent"
        time.sleep(0.05)


@pytest.mark.system
def test_the_same_pair_is_told_the_same_by_another_process() -> None:
    pairs = [(r"\boxed{\{2, 1\}}", r"\{1,2\}"), ("$x+y$", "y+x"), (r"\sqrt{12}", "3.4641016")]
    said = []
    for _ in range(2):
        worker = MathWorker()
        said.append([worker.compare(gold, answer) for gold, answer in pairs])
        worker.close()
    assert said[0] == said[1]
    assert check_answer("math", "9^9^9^9", "9^9^9^8") is not AnswerVerdict.CORRECT
