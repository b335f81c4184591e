r"""Comparison of mathematical answers by math-verify, in one process of its own that may be ended.

    compare_math("\frac{3}{4}", "0.75")     True; False if they differ, None if it cannot be said

A comparison has limits of time and memory (curate.answers.mathworker): an expression such as 9^9^9^9
ends the process and nothing else, and the next comparison starts another.
"""

import atexit
import os
import subprocess
import sys
from functools import cache, lru_cache
from pathlib import Path
from threading import Lock, Timer

import orjson

PROGRAM = Path(__file__).with_name("mathworker.py")
# Of processor time, for a pair.
SECONDS = 3
# Beyond the processor time that a comparison has, for a machine that is busy with other things.
PATIENCE = 120.0
# Kept of the environment: what Python needs to find its packages.
ENVIRONMENT = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "PYTHONPATH", "VIRTUAL_ENV")
LONGEST = 1_000


class MathWorker:
    """The process that compares, started when it is first needed and again after its end.

    Args:
        seconds: of processor time that a comparison may take.
    """

    def __init__(self, seconds: int = SECONDS) -> None:
        self._seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = Lock()

    def compare(self, gold: str, answer: str | None = None) -> bool | None:
        """Return whether an answer equals the gold one, None if it cannot be said.

        Args:
            gold: LaTeX; it comes first, since the comparison is not symmetric.
            answer: None to ask whether the gold one can be read.
        """
        if max(len(gold), len(answer or "")) > LONGEST:
            return None
        line = orjson.dumps([gold] if answer is None else [gold, answer]) + b"\n"
        with self._lock:
            reply = self._exchange(self._running(), line)
        said = orjson.loads(reply) if reply.endswith(b"\n") else None
        return said if isinstance(said, bool) else None

    def _running(self) -> subprocess.Popen[bytes]:
        if self._process is None or self._process.poll() is not None:
            self.close()
            self._process = subprocess.Popen(
                [sys.executable, "-P", str(PROGRAM), str(self._seconds)],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={k: v for k, v in os.environ.items() if k in ENVIRONMENT}
                | {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1"},
            )  # fmt: skip
        return self._process

    def _exchange(self, process: subprocess.Popen[bytes], line: bytes) -> bytes:
        """Return the line that answers a line; empty if the process ended over it."""
        assert process.stdin is not None and process.stdout is not None
        timer = Timer(PATIENCE, process.kill)
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            reply = process.stdout.readline()
        except BrokenPipeError:
            reply = b""
        except BaseException:
            # Its answer may come yet, and would be taken for that of the next comparison.
            self.close()
            raise
        finally:
            timer.cancel()
        if not reply:
            process.wait()
        return reply

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


@cache
def _worker_of(process_id: int) -> MathWorker:
    """Return the worker of a process; a forked child must not share its parent's."""
    worker = MathWorker()
    atexit.register(worker.close)
    return worker


@lru_cache(maxsize=10_000)
def compare_math(gold: str, answer: str | None = None) -> bool | None:
    """Return whether an answer equals the gold one, None if it cannot be said (MathWorker.compare)."""
    return _worker_of(os.getpid()).compare(gold, answer)
