"""Limits a minute, kept to in every span of that length."""

import asyncio
import time
from collections import deque

WINDOW_SECONDS = 60.0


class Rate:
    """Lets through at most `limit` units in any window of a minute; None is no limit.

    A single amount above the limit passes when nothing else is in the window.
    """

    def __init__(self, limit: int | None, window: float = WINDOW_SECONDS) -> None:
        self._limit, self._window = limit, window
        self._taken: deque[list[float]] = deque()

    def delay(self, amount: float) -> float:
        """Return the seconds until this amount may pass."""
        now = time.monotonic()
        while self._taken and self._taken[0][0] <= now - self._window:
            self._taken.popleft()
        if self._limit is None:
            return 0.0
        over = sum(taken for _, taken in self._taken) + amount - self._limit
        for when, taken in self._taken:
            if over <= 0:
                break
            over -= taken
            wait = when + self._window - now
            if over <= 0:
                return wait
        if self._taken and over > 0:
            return self._taken[-1][0] + self._window - now
        return 0.0

    async def take(self, amount: float) -> list[float]:
        """Wait until the amount may pass and count it; return the entry, to correct it later."""
        while (wait := self.delay(amount)) > 0:
            await asyncio.sleep(wait)
        entry = [time.monotonic(), amount]
        if self._limit is not None:
            self._taken.append(entry)
        return entry
