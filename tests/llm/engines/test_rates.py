"""Limits a minute hold in every window."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.engines.rates import Rate


class Clock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += max(seconds, 1e-6)


@given(
    limit=st.integers(1, 20),
    amounts=st.lists(st.integers(1, 20), min_size=1, max_size=40),
)
def test_no_window_has_more_than_the_limit(limit: int, amounts: list[int]) -> None:
    clock = Clock()
    when: list[float] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", clock.monotonic)
        patch.setattr(asyncio, "sleep", clock.sleep)
        rate = Rate(limit, window=60)
        for amount in amounts:
            asyncio.run(rate.take(amount))
            when.append(clock.now)
    for k, start in enumerate(when):
        inside = [a for a, t in zip(amounts, when, strict=True) if start <= t < start + 60 - 1e-3]
        # An amount above the limit passes alone.
        assert sum(inside) <= limit or (len(inside) == 1 and amounts[k] > limit)


def test_without_a_limit_nothing_waits() -> None:
    rate = Rate(None)
    for _ in range(3):
        asyncio.run(asyncio.wait_for(rate.take(10**9), 60))
        assert rate.delay(10**9) == 0


def test_what_was_not_used_is_free_for_others() -> None:
    rate = Rate(100, window=60)
    entry = asyncio.run(rate.take(100))
    assert rate.delay(10) > 50
    entry[1] = 5
    assert rate.delay(90) == 0
