"""The computation of a step where others run beside it: in a thread, or in a worker's process.

One process has one generator of random numbers and one set of threads for its models, so of the steps
that run a model one at a time is computed in a process. All others run side by side.
"""

import threading
from collections.abc import Mapping
from contextlib import nullcontext

from curate.core.calls import CachedCall
from curate.core.errors import UserError
from curate.core.store import Artifact, Computation, Store
from curate.core.wants import ONE_CORE, Wants
from curate.models.load import kernels
from curate.orchestration.workermodels import naming_missing_files, with_local_models

_one_model = threading.Lock()


def compute(store: Store, step: Computation, *, remote: bool = False) -> Artifact:
    """Return a step's artifact, computed or found.

    Args:
        store: of the artifacts.
        step: to compute.
        remote: this process may be on another machine than the one that made the step.

    Raises:
        UserError: its model would run on another kind of processor than its key says, or is not here.
    """
    stored = store.find(step)
    if stored is not None:
        return stored
    check_device(step)
    with (
        naming_missing_files(step) if remote else nullcontext(),
        _one_model if wants_of(step).gpus else nullcontext(),
    ):
        return store.ensure(with_local_models(step) if remote else step)


def check_device(step: Computation) -> None:
    """Make sure that a worker computes with what the step's key says.

    Raises:
        UserError: the key of a model names another processor or GPU than the one here.
    """
    for one in step.keyed if isinstance(step, CachedCall) else ():
        device = one.identity.get("device") if isinstance(one.identity, Mapping) else None
        # What is "cpu" alone is the same on all of them.
        if device not in (None, "cpu") and device != kernels():
            raise UserError(
                f"{step.name}: the run computes on {device}, and this worker on {kernels()}, which "
                "rounds differently; workers and the process that starts the run are to be of one kind"
            )


def wants_of(step: Computation) -> Wants:
    """Return what a step is best run with."""
    return step.wants if isinstance(step, CachedCall) else ONE_CORE
