"""Threads of this process: independent steps side by side, those that run a model one at a time.

The peak memory that a step tells is the process's, so that of all steps at work.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from curate.config.running import RunSettings
from curate.core.store import Store
from curate.orchestration.computing import compute
from curate.pipeline.engine import Submit


@contextmanager
def open_engine(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield the engine of some threads."""
    threads = ThreadPoolExecutor(settings.many, "step")
    try:
        yield lambda steps: [threads.submit(compute, store, step).result for step in steps]
    finally:
        threads.shutdown(cancel_futures=True)
