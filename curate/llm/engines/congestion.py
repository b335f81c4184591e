"""How many calls a server takes at one time: found by additive increase, multiplicative decrease.

Published: D.-M. Chiu and R. Jain, "Analysis of the increase and decrease algorithms for congestion
avoidance in computer networks" (1989). Every round of answers adds one call, and a server that says it
has too many halves them. As in TCP, what is halved are the calls in flight, not those that might be
(RFC 5681, FlightSize in equation 4), a round halves once, however many of its calls were turned away,
and answers add nothing while less than half of the calls that may be are in flight: they say nothing of
more (RFC 7661). Ours: it starts at the configured concurrency, which is also the most, so that a server
that takes as much is worked as hard from the first call on, and it goes down to one call, not to two.

    16 in flight, 12 of them turned away        8 may be
    6 in flight, 2 of them turned away          3 may be
    3 answers, 3 in flight at each              4 may be
"""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

DECREASE = 0.5


class CongestionWindow:
    """The calls that may be under way at one server.

    Args:
        most: never more than these.
    """

    def __init__(self, most: int) -> None:
        self._most, self._size = most, float(most)
        self._under_way = self._in_flight = 0
        # How often it has shrunk: a call that is sent belongs to this round.
        self._round = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def size(self) -> int:
        """Return how many calls may be under way."""
        return int(self._size)

    @property
    def most(self) -> int:
        """Return how many calls may ever be under way."""
        return self._most

    @property
    def exceeded(self) -> bool:
        """Return whether more calls have a slot than may be under way, since it has shrunk."""
        return self._under_way > self.size

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait until another call may be under way, and count it as long as it is."""
        while self._under_way >= self.size:
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._wake()

    @contextmanager
    def flight(self) -> Iterator[int]:
        """Count a call that is sent until its answer has been dealt with; yield the round it is of.

        Who has a slot may still wait for something to send.
        """
        self._in_flight += 1
        try:
            yield self._round
        finally:
            self._in_flight -= 1

    def grow(self) -> None:
        """Let more calls be under way after an answer: one more after as many as may be.

        To be called within its flight, as is `shrink`.
        """
        if 2 * self._in_flight < self.size:
            return
        self._size = min(self._size + 1 / self._size, float(self._most))
        self._wake()

    def shrink(self, sent_in: int) -> bool:
        """Let half of the calls in flight be, if one of this round was turned away; return whether.

        A call of an earlier round was sent when there were more, and says nothing of how it is now.
        """
        if sent_in != self._round:
            return False
        self._size = max(min(self._size, self._in_flight) * DECREASE, 1.0)
        self._round += 1
        return True

    def _wake(self) -> None:
        """Have those look again that wait; a waiter may be gone, with the list of its calls."""
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
