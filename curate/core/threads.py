"""Work shared out to threads, as many as this process may use processors; the results come in order.

Numpy, polars and scipy let go of Python's lock while they compute, so threads do for them.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import chain, islice
from typing import TypeVar

Item = TypeVar("Item")
Output = TypeVar("Output")


def usable_cores() -> int:
    """Return how many processors this process may use: those it is bound to, where it is to some."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def in_threads(
    function: Callable[[Item], Output], items: Iterable[Item], threads: int | None = None
) -> Iterator[Output]:
    """Yield function(item) in the order of the items; few more items than threads are in memory.

    Args:
        function: called for several items at the same time, so it changes nothing that they share.
        items: taken by the calling thread, one after the other.
        threads: how many; as many as there are usable cores if None.
    """
    size = threads or usable_cores()
    taken = iter(items)
    first = list(islice(taken, 2))
    if len(first) < 2:
        # A thread for a single item takes longer to start than most single items do.
        yield from map(function, first)
        return
    with ThreadPoolExecutor(size) as pool:
        waiting: deque[Future[Output]] = deque()
        for item in chain(first, taken):
            waiting.append(pool.submit(function, item))
            if len(waiting) > size:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
