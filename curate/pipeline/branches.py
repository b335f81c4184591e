"""Parts of a run that do not depend on one another, each in a thread of this process.

The threads compute nothing heavy: they hand steps to an engine, and wait for them.
"""

import contextvars
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

B = TypeVar("B")
T = TypeVar("T")
V = TypeVar("V")


def run_branches(
    function: Callable[[B, V], T],
    branches: Sequence[B],
    values: Sequence[V],
    ended: threading.Event,
) -> list[T]:
    """Return what a function makes of each branch of a run and its value, in their order.

    Args:
        function: one part of a run.
        branches: the runs that it is given.
        values: what else it is given.
        ended: is set where one part fails, so that the others end at their next step.

    Raises:
        Exception: that of the first part, by their order, that fails.
    """
    with ThreadPoolExecutor(len(values), "branch") as threads:
        futures = [
            # An orchestrator knows by the context which run a step belongs to.
            threads.submit(contextvars.copy_context().run, function, branch, value)
            for branch, value in zip(branches, values, strict=True)
        ]
        try:
            return [future.result() for future in futures]
        except BaseException:
            ended.set()
            raise
