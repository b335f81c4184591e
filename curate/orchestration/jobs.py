"""Steps on their way to a worker's process, and what comes back: artifact or error, and log lines.

A worker loads the recipe's plugins before it reads a step, which may be a call of theirs. Of a long list
each task of a cluster is some steps, since it costs more than a small step does.
"""

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from itertools import groupby
from logging.handlers import QueueHandler
from pathlib import Path
from queue import SimpleQueue
from typing import NoReturn

from curate.core.errors import UserError
from curate.core.methods import load_plugin, loaded_plugins
from curate.core.store import Artifact, Computation, Store, folder_name
from curate.orchestration.computing import compute, wants_of
from curate.pipeline.engine import Wait

LOG = logging.getLogger("curate")
# Further attempts at a step whose worker died.
RETRIES = 2
# A worker gets so many tasks of a long list, so that one that is slow holds up little; each of at most
# so many steps.
TASKS_A_WORKER, MOST_STEPS = 16, 16


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


class Batch:
    """Steps that are one task of a cluster, and what comes of them.

    Args:
        store: of the artifacts.
        steps: to compute, one after the other.
        fetch: waits for their outcomes.
    """

    def __init__(
        self, store: Store, steps: Sequence[Computation], fetch: Callable[[], list[Outcome]]
    ) -> None:
        self._store, self._steps, self._fetch = store, steps, fetch

    @cached_property
    def _outcomes(self) -> list[Outcome]:
        return self._fetch()

    @property
    def waits(self) -> list[Wait]:
        """Return the way to wait for each step's artifact."""
        return [partial(self._wait, number) for number in range(len(self._steps))]

    def _wait(self, number: int) -> Artifact:
        return self._outcomes[number].result(self._store, self._steps[number])


def batches(steps: Sequence[Computation], workers: int) -> list[Sequence[Computation]]:
    """Return steps by the task that they belong to; those of a task are to be given the same."""
    size = min(max(len(steps) // (TASKS_A_WORKER * workers), 1), MOST_STEPS)
    groups = [list(group) for _, group in groupby(steps, wants_of)]
    return [group[i : i + size] for group in groups for i in range(0, len(group), size)]


def run_jobs(jobs: Sequence[Job]) -> list[Outcome]:
    """Compute steps in a worker's process; those behind one that fails end with its error as well."""
    outcomes: list[Outcome] = []
    for job in jobs:
        failed = outcomes[-1].error if outcomes else None
        outcomes.append(_run_job(job) if failed is None else Outcome(None, failed, []))
    return outcomes


def _run_job(job: Job) -> Outcome:
    with kept_lines() as lines:
        try:
            return Outcome(compute(job.store, job.step, remote=True), None, lines)
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
