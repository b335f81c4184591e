"""Steps of a run as Prefect tasks, cached under the store's own key, on the engine of the recipe.

Prefect's own task runners do the work. They join the cluster that the engine has started, so that a list
of more steps than Prefect's server bears is one task, and goes straight to the engine.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from logging import LogRecord
from typing import Any

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect import task
from prefect.cache_policies import NO_CACHE, CachePolicy
from prefect.client.schemas.objects import RunInput, TaskRunResult
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from curate.config.running import INLINE, RunSettings
from curate.core.meter import current_meter
from curate.core.store import Artifact, Computation, Store, folder_name
from curate.orchestration.artifacts import counted
from curate.orchestration.computing import compute
from curate.orchestration.engines import open_engine
from curate.orchestration.jobs import Job, kept_lines
from curate.orchestration.taskcontext import lean_context
from curate.pipeline.engine import Submit, SubmitOnce, Wait
from curate.pipeline.run import ExecuteAll

LOG = logging.getLogger("curate")
RECORDS = "prefect"
# Of one list of steps.
MOST_TASKS = 200
CLUSTERS = {"ray": "curate.orchestration.raytasks", "dask": "curate.orchestration.dasktasks"}
# A context around what is done with a step.
Around = Callable[[Computation], AbstractContextManager[object]]


@dataclass
class StoreKey(CachePolicy):
    """Prefect may reuse a result if, and only if, the store holds the whole artifact behind it."""

    def compute_key(
        self,
        task_ctx: TaskRunContext,
        inputs: dict[str, Any],
        flow_parameters: dict[str, Any],
        **kwargs: Any,
    ) -> str | None:
        """Return the step's key; forget Prefect's record where the artifact is gone or damaged."""
        job: Job = inputs["job"]
        key = job.step.key
        if job.store.find(job.step) is None:
            (job.store.root / RECORDS / key).unlink(missing_ok=True)
        return key


@task(cache_policy=StoreKey(), persist_result=True, result_serializer="json")
def make(job: Job, remote: bool = False) -> dict[str, Any]:
    """Make a step's artifact or find it; return its key and counts, never its contents.

    What a worker's process logs comes along.
    """
    kept: AbstractContextManager[list[LogRecord]] = kept_lines() if remote else nullcontext([])
    with kept as lines:
        artifact = compute(job.store, job.step, remote=remote)
    return {
        "name": artifact.name,
        "key": artifact.key,
        "path": str(artifact.path),
        "counts": artifact.counts,
        "cached": artifact.cached,
        "lines": [(line.levelno, line.getMessage()) for line in lines],
    }


@task(cache_policy=NO_CACHE, persist_result=False)
def make_many(work: "ManySteps") -> None:
    """Let the engine compute a long list of steps."""
    work.compute()


class ManySteps:
    """A list of steps for one task, and their artifacts at its end; opaque to Prefect."""

    __slots__ = ("artifacts", "meter", "steps", "submit")

    def __init__(self, submit: Submit, steps: Sequence[Computation]) -> None:
        self.submit, self.steps, self.artifacts = submit, steps, list[Artifact]()
        self.meter = current_meter()

    def compute(self) -> None:
        """Submit all, and collect their artifacts in order."""
        for wait in counted(self.steps[0].name, self.submit(self.steps)):
            self.artifacts.append(wait())
            self.meter.reach(len(self.artifacts), sum(one.cached for one in self.artifacts))


@contextmanager
def task_executor(settings: RunSettings, store: Store) -> Iterator[ExecuteAll]:
    """Yield what makes the artifacts of a run, each by a task of its own.

    Raises:
        UserError: the engine cannot be started.
    """
    # Workers read it from their environment: what they do is told by this process.
    os.environ.setdefault("PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL", "CRITICAL")
    with open_engine(settings, store) as direct, _open_tasks(settings, store) as tasks:
        submit = SubmitOnce(tasks)

        def execute_all(steps: Sequence[Computation]) -> Iterator[Artifact]:
            if len(steps) > MOST_TASKS:
                work = ManySteps(direct, steps)
                make_many.with_options(task_run_name=f"{steps[0].name} ({len(steps):,})")(work)
                yield from work.artifacts
                return
            waits = submit(steps)
            yield from (wait() for wait in counted(steps[0].name, waits))

        yield execute_all


@contextmanager
def _open_tasks(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield what submits steps as tasks: to threads, or to a cluster that has been started."""
    if settings.on in CLUSTERS:
        cluster = import_module(CLUSTERS[settings.on])
        with cluster.task_runner() as runner:
            submitting = partial(cluster.submitting, settings)
            yield TaskSubmitter(store, runner, submitting, cluster.worker_faults)
    else:
        threads = 1 if settings.on == INLINE else settings.many
        with ThreadPoolTaskRunner[Any](max_workers=threads) as pool:
            yield TaskSubmitter(store, pool)


class TaskSubmitter:
    """Submits steps as tasks, each behind the tasks that made what it reads.

    Args:
        store: of the artifacts.
        runner: of the tasks.
        submitting: the context in which a step is submitted to a cluster; None for threads.
        waiting: the context in which a step's task is waited for.
    """

    def __init__(
        self,
        store: Store,
        runner: TaskRunner[Any],
        submitting: Around | None = None,
        waiting: Around = nullcontext,
    ) -> None:
        self._store, self._runner = store, runner
        self._submitting, self._waiting = submitting, waiting
        self._runs: dict[str, RunInput] = {}

    def __call__(self, steps: Sequence[Computation]) -> list[Wait]:
        """Submit independent steps."""
        return [self._submit(step) for step in steps]

    def _submit(self, step: Computation) -> Wait:
        records = self._store.root / RECORDS
        named = make.with_options(task_run_name=step.name, result_storage=records)
        made_by = {self._runs[one.key] for one in step.reads if one.key in self._runs}
        parameters = {"job": Job(self._store, step), "remote": self._submitting is not None}
        with self._context(step):
            future = self._runner.submit(named, parameters, dependencies={"job": made_by})
        self._runs[step.key] = TaskRunResult(id=future.task_run_id)
        return partial(self._collect, step, future)

    @contextmanager
    def _context(self, step: Computation) -> Iterator[None]:
        if self._submitting is None:
            yield
            return
        with self._submitting(step), lean_context():
            yield

    def _collect(self, step: Computation, future: PrefectFuture[Any]) -> Artifact:
        """Wait for a task, and log what its worker has logged."""
        with self._waiting(step):
            result = future.result()
        cached = future.state.name == "Cached"
        for level, line in result["lines"] if not cached else ():
            LOG.log(level, "%s", line)
        self._store.fetch(folder_name(step))
        return self._store.open(step, cached=cached or result["cached"])
