"""Ray: steps in processes of this machine, or of a running Ray cluster that has the store's folder.

A cluster of this machine listens to it alone, tells nobody of its use, and leaves neither process nor
file behind. A step is one task; where a GPU is to be had, Ray gives one that runs a model its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from curate.config.running import RunSettings
from curate.core.errors import UserError
from curate.core.scratch import temporary_folder
from curate.core.store import Computation, Store
from curate.orchestration.computing import wants_of
from curate.orchestration.jobs import (
    RETRIES,
    Batch,
    Job,
    Outcome,
    batches,
    raise_lost,
    raise_unable,
    run_jobs,
)
from curate.pipeline.engine import Submit, Wait

# Jobs and outcomes are small, since tables lie in the store; Ray would take a third of all memory.
OBJECT_STORE_BYTES = 128 * 2**20


@contextmanager
def open_engine(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield the engine of a Ray cluster, which ends with it where it is of this machine.

    Raises:
        UserError: there is no cluster at the address.
    """
    remote = ray.remote(run_jobs)

    def submit(steps: Sequence[Computation]) -> list[Wait]:
        cores = int(ray.cluster_resources().get("CPU", 1))
        return [wait for batch in batches(steps, cores) for wait in send(batch).waits]

    def send(steps: Sequence[Computation]) -> Batch:
        options = {
            "name": steps[0].name,
            "max_retries": RETRIES,
            **task_options(settings, steps[0]),
        }
        outcomes = remote.options(**options).remote([Job(store, step) for step in steps])
        return Batch(store, steps, partial(_collect, steps[0], outcomes))

    with temporary_folder() as folder:
        _start(settings, folder)
        try:
            yield submit
        finally:
            ray.shutdown()


def task_options(settings: RunSettings, step: Computation) -> dict[str, Any]:
    """Return what Ray gives a step: a core, and the GPUs of a worker if it runs a model."""
    return {"num_cpus": 1, "num_gpus": (settings.gpus_a_worker or 0) * wants_of(step).gpus}


def _start(settings: RunSettings, folder: Path) -> None:
    quiet = {"log_to_driver": False, "configure_logging": False}
    if settings.address is None:
        ray.init(
            num_cpus=settings.many,
            object_store_memory=OBJECT_STORE_BYTES,
            include_dashboard=False,
            _temp_dir=str(folder),
            **quiet,
        )
        return
    try:
        ray.init(settings.address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"run.address: no Ray cluster answers at {settings.address} "
            f"({' '.join(str(error).split())[:200]})"
        ) from error


def _collect(step: Computation, reference: Any) -> list[Outcome]:
    """Wait for the outcomes of a task, which is named by its first step."""
    with worker_faults(step):
        outcomes: list[Outcome] = ray.get(reference)
    return outcomes


@contextmanager
def worker_faults(step: Computation) -> Iterator[None]:
    """Tell in a sentence what has happened to the workers of a step that is waited for.

    Raises:
        UserError: they died, or could not take it.
    """
    try:
        yield
    except RayTaskError as error:
        raise_unable(step, error)
    except RayError as error:
        raise_lost(step, error)
