"""Dask: steps in processes of this machine, or of a Dask cluster that has the store's folder.

Clusters of other kinds (Slurm, Kubernetes, GPUs) are started by their classes: run.cluster. A cluster of
this machine listens to it alone, and leaves neither process nor file behind.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import dask.config
import distributed
from distributed.scheduler import KilledWorker

from curate.config.running import RunSettings
from curate.core.errors import UserError
from curate.core.scratch import temporary_folder
from curate.core.store import Computation, Store
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


@contextmanager
def open_engine(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield the engine of a Dask cluster, which ends with it where it was started for it.

    Raises:
        UserError: there is no cluster at the address, or no class of its name.
    """
    with open_client(settings) as client:

        def submit(steps: Sequence[Computation]) -> list[Wait]:
            # Of a cluster that is being started, as many as it is to have.
            workers = sum(client.nthreads().values()) or settings.many
            return [wait for batch in batches(steps, workers) for wait in send(batch).waits]

        def send(steps: Sequence[Computation]) -> Batch:
            future = client.submit(run_jobs, [Job(store, step) for step in steps], pure=False)
            return Batch(store, steps, partial(_collect, steps[0], future))

        yield submit


@contextmanager
def open_client(settings: RunSettings) -> Iterator[distributed.Client]:
    """Yield the client of a Dask cluster."""
    if settings.address is not None:
        with _connect(settings.address) as client:
            yield client
        return
    with temporary_folder() as folder:
        choices = {
            "distributed.scheduler.allowed-failures": RETRIES, "temporary-directory": str(folder)
        }  # fmt: skip
        with (
            dask.config.set(choices),
            _started(settings) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client


def _connect(address: str) -> distributed.Client:
    try:
        return distributed.Client(address, timeout=20)
    except (OSError, ValueError) as error:
        raise UserError(f"run.address: no Dask scheduler answers at {address} ({error})") from error


def _started(settings: RunSettings) -> Any:
    """Return a new cluster: of the recipe's class, or of this machine."""
    if settings.cluster is None:
        return distributed.LocalCluster(
            n_workers=settings.many,
            threads_per_worker=1,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs="CRITICAL",
        )
    arguments = {key: value for key, value in settings.cluster.items() if key != "class"}
    cluster = _cluster_class(settings.cluster["class"])(**arguments)
    if settings.workers:
        cluster.scale(settings.workers)
    return cluster


def _cluster_class(name: str) -> Any:
    module, _, class_name = name.rpartition(".")
    try:
        return getattr(import_module(module), class_name)
    except (ImportError, ValueError, AttributeError) as error:
        raise UserError(f"run.cluster.class: there is no {name} here ({error})") from error


def _collect(step: Computation, future: distributed.Future) -> list[Outcome]:
    """Wait for the outcomes of a task, which is named by its first step."""
    try:
        with worker_faults(step):
            outcomes: list[Outcome] = future.result()
    except UserError:
        raise
    except Exception as error:
        raise_unable(step, error)
    return outcomes


@contextmanager
def worker_faults(step: Computation) -> Iterator[None]:
    """Tell in a sentence that the workers died of a step that is waited for.

    Raises:
        UserError: they did.
    """
    try:
        yield
    except KilledWorker as error:
        raise_lost(step, error)
