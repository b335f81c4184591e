"""The computation of a step where others run beside it: in a thread, or in a worker's process.

One process has one generator of random numbers and one set of threads for its models, so of the steps
that run a model one at a time is computed in a process. All others run side by side.
"""

import threading
from contextlib import nullcontext

from curate.core.calls import CachedCall
from curate.core.store import Artifact, Computation, Store
from curate.core.wants import ONE_CORE, Wants

_one_model = threading.Lock()


def compute(store: Store, step: Computation) -> Artifact:
    """Return a step's artifact, computed or found."""
    stored = store.find(step)
    if stored is not None:
        return stored
    with _one_model if wants_of(step).gpus else nullcontext():
        return store.ensure(step)


def wants_of(step: Computation) -> Wants:
    """Return what a step is best run with."""
    return step.wants if isinstance(step, CachedCall) else ONE_CORE
