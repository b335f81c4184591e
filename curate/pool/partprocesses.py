"""Processes that wait for parts of files: each is a Python of its own, which starts in half a second.

with processes_kept():
    ...                       # what is read here, file by file, is read by the same processes
"""

import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import IO

PartProcess = subprocess.Popen[bytes]
# One thread a process. What Arrow frees goes to the C library, which keeps the memory of one part's
# arrays for those of the next: to get it from the system anew takes a fifth of the time.
KEPT = str(64 * 2**20)
LEAN = {
    "POLARS_MAX_THREADS": "1",
    "OMP_NUM_THREADS": "1",
    "ARROW_DEFAULT_MEMORY_POOL": "system",
    "MALLOC_TRIM_THRESHOLD_": KEPT,
    "MALLOC_MMAP_THRESHOLD_": KEPT,
}
# Half a part: with the system's own 64 KiB, both ends wait for one another thirty times a part.
PIPE_BYTES = 2**20
# To look for cycles while modules are imported takes a tenth of the time.
READ_PARTS = "import gc; gc.disable(); from curate.pool.partworkers import main; main()"
# Those that no file is read by at the moment, where they are kept.
_IDLE: ContextVar[list[PartProcess] | None] = ContextVar("idle part processes", default=None)


@contextmanager
def processes_kept() -> Iterator[None]:
    """Keep the processes that read a file for the next one, and end them at last."""
    idle: list[PartProcess] = []
    token = _IDLE.set(idle)
    try:
        yield
    finally:
        _IDLE.reset(token)
        for process in idle:
            end_process(process)


def take_process() -> PartProcess:
    """Return a process that waits, or else a new one."""
    idle = _IDLE.get() or []
    # Files that are read side by side take from one list.
    with suppress(IndexError):
        while (process := idle.pop()).poll() is not None:
            end_process(process)
        return process
    # It imports what this one would: from the current folder only where that is among its paths, as "".
    paths = os.pathsep.join(path or str(Path.cwd()) for path in sys.path)
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", READ_PARTS],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**os.environ, **LEAN, "PYTHONPATH": paths},
    )  # fmt: skip
    for stream in (process.stdin, process.stdout):
        _widen(pipe(stream))
    return process


def _widen(stream: IO[bytes]) -> None:
    """Let a pipe hold PIPE_BYTES, where the system can and lets us."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with suppress(OSError):
            fcntl.fcntl(stream, fcntl.F_SETPIPE_SZ, PIPE_BYTES)


def leave_process(process: PartProcess) -> None:
    """Leave a process to the next file, or end it where none are kept."""
    idle = _IDLE.get()
    if idle is None:
        end_process(process)
    else:
        idle.append(process)


def end_process(process: PartProcess) -> None:
    """Let a process end, as it does without more to read."""
    with suppress(BrokenPipeError):
        pipe(process.stdin).close()
    process.wait()
    pipe(process.stdout).close()


def pipe(stream: IO[bytes] | None) -> IO[bytes]:
    """Return the end of a pipe of a process."""
    assert stream is not None, "both are piped"
    return stream
