"""Prefect's tasks on a Dask cluster that has been started."""

from contextlib import AbstractContextManager, nullcontext

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

import distributed
from prefect_dask import DaskTaskRunner

from curate.config.running import RunSettings
from curate.core.store import Computation
from curate.orchestration.daskcluster import worker_faults

__all__ = ["submitting", "task_runner", "worker_faults"]


def task_runner() -> DaskTaskRunner:
    """Return Prefect's runner of tasks on the cluster that this process has joined."""
    return DaskTaskRunner(address=distributed.get_client().scheduler.address)


def submitting(settings: RunSettings, step: Computation) -> AbstractContextManager[object]:
    """Return a context in which tasks are submitted with what a step is to be given: a thread."""
    return nullcontext()
