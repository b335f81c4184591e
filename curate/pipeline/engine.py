"""An engine computes the steps of a run: it takes a step, and gives back a way to wait for its artifact.

    submit = inline(store)
    waits = [submit(step) for step in steps]       # independent steps, side by side where the engine can
    artifacts = [wait() for wait in waits]         # in their order

Engines of more than one worker are in curate.orchestration.
"""

import threading
from collections.abc import Callable
from functools import partial

from curate.core.store import Artifact, Computation, Store

Wait = Callable[[], Artifact]
Submit = Callable[[Computation], Wait]


def inline(store: Store) -> Submit:
    """Return the engine that computes a step in this thread, when it is waited for."""
    return lambda step: partial(store.ensure, step)


class SubmitOnce:
    """An engine that computes a step once, however many methods that run side by side ask for it."""

    def __init__(self, submit: Submit) -> None:
        self._submit, self._waits = submit, dict[str, Wait]()
        self._lock = threading.Lock()

    def __call__(self, step: Computation) -> Wait:
        """Submit a step, unless it has been."""
        key = step.key
        with self._lock:
            if key not in self._waits:
                self._waits[key] = self._submit(step)
            return self._waits[key]
