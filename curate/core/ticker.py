"""One thread for what is done again and again while work goes on: signs of life, measures of memory.

A thread of its own for each would take longer to start than a small step takes. No lock is taken where
a job comes or goes: Ctrl-C in between would leave it taken, and end all signs of life.
"""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from queue import Empty, SimpleQueue


@dataclass(eq=False)
class _Job:
    """Something to do again and again, and when it is due by the clock."""

    function: Callable[[], None]
    seconds: float
    due: float


class Ticker:
    """A thread that calls functions, each after its own time; it sleeps where none is due."""

    def __init__(self) -> None:
        self._news: SimpleQueue[None] = SimpleQueue()
        self._jobs: list[_Job] = []
        self._wakes = float("inf")
        threading.Thread(target=self._run, name="ticker", daemon=True).start()

    @contextmanager
    def every(self, seconds: float, function: Callable[[], None]) -> Iterator[None]:
        """Let a function be called so often while the work inside goes on; the first time after that."""
        job = _Job(function, seconds, time.monotonic() + seconds)
        try:
            self._jobs.append(job)
            if job.due < self._wakes:
                self._news.put(None)
            yield
        finally:
            if job in self._jobs:
                self._jobs.remove(job)

    def _run(self) -> None:
        while True:
            for job in self._due():
                # What one fails at, as a measure where memory is short, ends no other's signs of life.
                with suppress(Exception):
                    job.function()

    def _due(self) -> list[_Job]:
        """Return the jobs that are due, after a sleep if none is."""
        # Before the look at the jobs: one that comes behind it ends the sleep.
        self._wakes = float("inf")
        jobs, now = self._jobs.copy(), time.monotonic()
        due = [job for job in jobs if job.due <= now]
        for job in due:
            job.due = now + job.seconds
        self._wakes = min((job.due for job in jobs), default=float("inf"))
        if not due:
            with suppress(Empty):
                self._news.get(timeout=self._wakes - now if jobs else None)
        return due


def ticker() -> Ticker:
    """Return the ticker of this process."""
    return _ticker(os.getpid())


@lru_cache(maxsize=1)
def _ticker(process: int) -> Ticker:
    """Return the ticker of a process: one that was forked off has not the thread of the other."""
    return Ticker()
