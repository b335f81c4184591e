"""An engine computes the steps of a run: it takes steps, and returns ways to wait for their artifacts.

    submit = inline(store)
    waits = submit(steps)                          # independent steps, side by side where the engine can
    artifacts = [wait() for wait in waits]         # in their order

Engines of more than one worker are in curate.orchestration.
"""

import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from curate.core.store import Artifact, Computation, Store

Wait = Callable[[], Artifact]
Submit = Callable[[Sequence[Computation]], list[Wait]]


def inline(store: Store) -> Submit:
    """Return the engine that computes a step in this thread, when it is waited for."""
    return lambda steps: [partial(store.ensure, step) for step in steps]


def executing(submit: Submit) -> Callable[[Sequence[Computation]], Iterator[Artifact]]:
    """Return what executes steps on an engine, and yields their artifacts one by one in their order."""
    return lambda steps: (wait() for wait in submit(steps))


class SubmitOnce:
    """An engine that computes a step once, however many methods that run side by side ask for it."""

    def __init__(self, submit: Submit) -> None:
        self._submit, self._waits = submit, dict[str, Wait]()
        self._lock = threading.Lock()

    def __call__(self, steps: Sequence[Computation]) -> list[Wait]:
        """Submit those of some steps that have not been."""
        keys = [step.key for step in steps]
        with self._lock:
            pairs = zip(keys, steps, strict=True)
            new = {key: step for key, step in pairs if key not in self._waits}
            self._waits.update(zip(new, self._submit(list(new.values())), strict=True))
            return [self._waits[key] for key in keys]
