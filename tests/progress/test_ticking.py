"""A ticker calls its function while the context goes on, and no more after it."""

import threading

import pytest

from curate.progress.ticking import ticking


def test_a_ticker_ends_with_its_context_whatever_happens_in_it() -> None:
    calls, called = [], threading.Event()

    def tick() -> None:
        calls.append(threading.current_thread())
        called.set()

    with pytest.raises(ValueError, match="halt"), ticking(tick, 0.001):
        assert called.wait(60)
        raise ValueError("halt")
    assert not calls[0].is_alive()
    assert calls[0] is not threading.current_thread()
