"""How many calls are under way: it grows by one a round, is halved once a round, and loses no call."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.llm.engines.congestion import CongestionWindow
from tests.llm.engines.fakeserver import Act, FakeServer
from tests.llm.engines.test_openai import calls, engine, questions

SERVER_TAKES = 4
TOO_MANY = Act(status=429, body="too many requests")


@contextmanager
def flights(window: CongestionWindow, count: int) -> Iterator[int]:
    """Have so many calls in flight; yield the round that they are of."""
    with ExitStack() as stack:
        (sent_in,) = {stack.enter_context(window.flight()) for _ in range(count)}
        yield sent_in


def test_a_round_of_answers_adds_one_up_to_the_most() -> None:
    window = CongestionWindow(6)
    assert window.size == 6
    for size in (3, 1, 1):
        with flights(window, window.size) as sent_in:
            assert window.shrink(sent_in)
        assert window.size == size
    for size in (2, 3, 4, 5, 6):
        with flights(window, size):
            for _ in range(size):
                window.grow()
        assert window.size == size
    with flights(window, 6):
        for _ in range(50):
            window.grow()
    assert window.size == 6


def test_a_round_is_halved_once_however_many_are_turned_away() -> None:
    window = CongestionWindow(16)
    with flights(window, 16) as sent_in:
        assert [window.shrink(sent_in) for _ in range(12)] == [True] + [False] * 11
    assert window.size == 8


def test_what_is_halved_are_the_calls_in_flight() -> None:
    window = CongestionWindow(32)
    with flights(window, 6) as sent_in:
        assert window.shrink(sent_in)
    assert window.size == 3


def test_answers_to_a_few_calls_say_nothing_of_more() -> None:
    window = CongestionWindow(16)
    with flights(window, 16) as sent_in:
        window.shrink(sent_in)
    with flights(window, 3):
        for _ in range(99):
            window.grow()
    assert window.size == 8
    with flights(window, 4):
        for _ in range(99):
            window.grow()
    assert window.size == 9  # at 9 four are less than half


@given(st.integers(1, 64), st.lists(st.booleans(), max_size=200))
def test_it_stays_between_one_and_the_most(most: int, answers: list[bool]) -> None:
    window = CongestionWindow(most)
    for taken in answers:
        before = window.size
        if taken:
            with flights(window, before):
                window.grow()
            assert before <= window.size <= before + 1
        else:
            with flights(window, before) as sent_in:
                window.shrink(sent_in)
            assert window.size in (max(before // 2, 1), max((before + 1) // 2, 1))
        assert 1 <= window.size <= most


def test_no_more_are_under_way_than_may_be() -> None:
    async def work(window: CongestionWindow, peaks: list[int]) -> None:
        async with window.slot():
            under_way.append(None)
            peaks.append(len(under_way))
            await asyncio.sleep(0.001)
            under_way.pop()

    async def run() -> list[int]:
        window, peaks = CongestionWindow(8), list[int]()
        with flights(window, 8) as sent_in:
            window.shrink(sent_in)
        await asyncio.gather(*(work(window, peaks) for _ in range(40)))
        return peaks

    under_way: list[None] = []
    peaks = asyncio.run(run())
    assert len(peaks) == 40 and max(peaks) == 4


def test_it_is_good_for_the_next_loop_after_one_that_was_cancelled() -> None:
    async def hold(window: CongestionWindow) -> None:
        async with window.slot():
            await asyncio.sleep(600)

    async def cancelled(window: CongestionWindow) -> None:
        tasks = [asyncio.create_task(hold(window)) for _ in range(3)]
        await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def enter(window: CongestionWindow) -> None:
        async with window.slot():
            assert not window.exceeded

    window = CongestionWindow(1)
    asyncio.run(cancelled(window))
    asyncio.run(asyncio.wait_for(enter(window), 10))


def crowded(server: FakeServer, act: Act = TOO_MANY) -> Any:
    """Return a plan that turns away what is beyond as many calls as the server takes at one time."""
    return lambda body, number: act if server.under_way > SERVER_TAKES else Act()


def turned_away(count: int, **given: Any) -> tuple[int, list[str]]:
    """Return how many calls a crowded server has turned away, and how each call ended."""
    with FakeServer(delay=0.02) as server:
        server.plan = crowded(server)
        done = engine(server.url, concurrency=32, **given).complete(calls(questions(count)))
        return server.acts[TOO_MANY], [completion.finish for completion in done]


def test_a_crowded_server_turns_fewer_calls_away_and_answers_all(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "curate"):
        adaptive, finishes = turned_away(100)
    assert finishes == ["ok"] * 100
    (line,) = [m for m in caplog.messages if "turns calls away" in m]
    assert "(HTTP 429): at most 16 under way from now on instead of 32" in line
    monkeypatch.setattr("curate.llm.engines.congestion.DECREASE", 1.0)
    fixed, finishes = turned_away(100, attempts=1_000)
    assert finishes == ["ok"] * 100
    assert adaptive < fixed / 2


def test_one_that_also_asks_to_wait_is_left_alone_and_then_asked_less() -> None:
    wait = Act(status=429, body="", headers={"Retry-After": "0.1"})
    with FakeServer(delay=0.02) as server:
        server.plan = crowded(server, wait)
        crowded_engine = engine(server.url, concurrency=8)
        done = crowded_engine.complete(calls(questions(40)))
    assert [completion.finish for completion in done] == ["ok"] * 40
    assert 0 < server.acts[wait] < 40
    assert server.times[-1] - server.times[0] >= 0.1


def test_few_calls_are_halved_though_many_might_be_under_way() -> None:
    with FakeServer(delay=0.05) as server:
        server.plan = crowded(server)
        wide = engine(server.url, concurrency=32)
        done = wide.complete(calls(questions(SERVER_TAKES + 2)))
    assert [completion.finish for completion in done] == ["ok"] * (SERVER_TAKES + 2)
    assert wide._endpoints[0].window.size <= SERVER_TAKES


def test_what_it_has_learned_holds_for_the_next_calls() -> None:
    with FakeServer(delay=0.02) as server:
        server.plan = crowded(server)
        crowded_engine = engine(server.url, concurrency=32)
        crowded_engine.complete(calls(questions(40)))
        server.under_way, server.most_under_way = 0, 0
        crowded_engine.complete(calls(questions(16)))
        assert server.most_under_way < 16


def test_other_faults_do_not_slow_it() -> None:
    with FakeServer(lambda body, n: Act(status=500, body="oops") if n == 0 else Act()) as server:
        steady = engine(server.url, concurrency=8)
        steady.complete(calls(questions(4)))
    assert steady._endpoints[0].window.size == 8
