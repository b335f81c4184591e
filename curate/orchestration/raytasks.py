"""Prefect's tasks on a Ray cluster that has been started."""

from contextlib import AbstractContextManager

import curate.orchestration.environment  # noqa: F401  # isort: skip  (must come before prefect)

from prefect_ray import RayTaskRunner
from prefect_ray.context import remote_options

from curate.config.running import RunSettings
from curate.core.store import Computation
from curate.orchestration.raycluster import task_options, worker_faults

__all__ = ["submitting", "task_runner", "worker_faults"]


def task_runner() -> RayTaskRunner:
    """Return Prefect's runner of tasks on the cluster that this process has joined."""
    return RayTaskRunner()


def submitting(settings: RunSettings, step: Computation) -> AbstractContextManager[object]:
    """Return a context in which tasks are submitted with what a step is to be given."""
    options: AbstractContextManager[object] = remote_options(**task_options(settings, step))
    return options
