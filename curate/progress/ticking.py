"""A thread that does something now and then while something else goes on."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def ticking(function: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call a function every so many seconds, in a thread of its own that ends with the context."""
    ended = threading.Event()

    def tick() -> None:
        while not ended.wait(seconds):
            function()

    thread = threading.Thread(target=tick, name="ticker", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
