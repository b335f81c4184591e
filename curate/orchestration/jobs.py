"""A step on its way to a worker's process, and what comes back: artifact or error, and log lines.

A worker loads the recipe's plugins before it reads a step, which may be a call of theirs.
"""

import logging
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

from curate.core.errors import UserError
from curate.core.methods import load_plugin, loaded_plugins
from curate.core.store import Artifact, Computation, Store, folder_name
from curate.orchestration.computing import compute

LOG = logging.getLogger("curate")
# Further attempts at a step whose worker died.
RETRIES = 2


class Plugins:
    """The plugins of a recipe, which are loaded where this arrives."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = paths

    def __reduce__(self) -> tuple[type["Plugins"], tuple[Sequence[Path]], Sequence[Path]]:
        """Return how a worker makes it anew: from the paths, which it also loads."""
        return Plugins, (self._paths,), self._paths

    def __setstate__(self, paths: Sequence[Path]) -> None:
        for path in paths:
            load_plugin(path)


class Job:
    """A step and its store, behind the plugins of which the step may be a call.

    It is no dataclass, of which Prefect would walk through every value.
    """

    __slots__ = ("plugins", "step", "store")

    def __init__(self, store: Store, step: Computation) -> None:
        self.plugins, self.store, self.step = Plugins(loaded_plugins()), store, step


@dataclass(frozen=True)
class Outcome:
    """What a worker made of a job: an artifact or an error, and the lines that it logged."""

    artifact: Artifact | None
    error: Exception | None
    lines: Sequence[logging.LogRecord]

    def result(self, store: Store, step: Computation) -> Artifact:
        """Log the lines here, and return the artifact.

        Raises:
            Exception: that of the step.
        """
        for line in self.lines:
            logging.getLogger(line.name).handle(line)
        if self.error is not None:
            raise self.error
        assert self.artifact is not None
        # From a bucket to this machine, where the worker was another one.
        store.fetch(folder_name(step))
        return store.open(step, cached=self.artifact.cached)


def run_job(job: Job) -> Outcome:
    """Compute a step in a worker's process."""
    with kept_lines() as lines:
        try:
            return Outcome(compute(job.store, job.step), None, lines)
        except Exception as error:
            return Outcome(None, error, lines)


@contextmanager
def kept_lines() -> Iterator[list[logging.LogRecord]]:
    """Yield a list that at the end holds what this thread has logged, as text."""
    lines: list[logging.LogRecord] = []
    queue: SimpleQueue[logging.LogRecord] = SimpleQueue()
    handler, thread = QueueHandler(queue), threading.get_ident()
    handler.addFilter(lambda line: line.thread == thread)
    LOG.addHandler(handler)
    LOG.setLevel(logging.INFO)
    LOG.propagate = False
    try:
        yield lines
    finally:
        LOG.removeHandler(handler)
        while not queue.empty():
            lines.append(queue.get())


def raise_lost(step: Computation, error: Exception) -> NoReturn:
    """Tell of a step whose workers died.

    Raises:
        UserError: always.
    """
    raise UserError(
        f"{step.name}: {RETRIES + 1} workers died over it ({type(error).__name__}), as they do when "
        "memory runs out; give them more of it, or let fewer run at a time (run.workers)"
    ) from error


def raise_unable(step: Computation, error: Exception) -> NoReturn:
    """Tell of a step that no worker could take.

    Raises:
        UserError: always.
    """
    reason = " ".join(str(error).split())[-300:]
    raise UserError(
        f"{step.name}: no worker could take it ({type(error).__name__}: {reason}); workers need the "
        "same versions of curate and Python as this process, and a way to it"
    ) from error
