"""Ray: steps in processes of this machine, or of a running Ray cluster that has the store's folder.

A cluster of this machine listens to it alone, tells nobody of its use, and leaves neither process nor
file behind. A step is one task; where a GPU is to be had, Ray gives one that runs a model its own.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from curate.config.running import RunSettings
from curate.core.errors import UserError
from curate.core.scratch import temporary_folder
from curate.core.store import Artifact, Computation, Store
from curate.orchestration.computing import wants_of
from curate.orchestration.jobs import RETRIES, Job, Outcome, raise_lost, raise_unable, run_job
from curate.pipeline.engine import Submit, Wait

# Jobs and outcomes are small, since tables lie in the store; Ray would take a third of all memory.
OBJECT_STORE_BYTES = 128 * 2**20


@contextmanager
def open_engine(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield the engine of a Ray cluster, which ends with it where it is of this machine.

    Raises:
        UserError: there is no cluster at the address.
    """
    remote = ray.remote(run_job)

    def submit(step: Computation) -> Wait:
        task = remote.options(name=step.name, max_retries=RETRIES, **task_options(settings, step))
        return partial(_collect, store, step, task.remote(Job(store, step)))

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


def _collect(store: Store, step: Computation, reference: Any) -> Artifact:
    """Wait for a step's artifact."""
    with worker_faults(step):
        outcome: Outcome = ray.get(reference)
    return outcome.result(store, step)


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
