"""How far steps are, and how long they take yet, by a clock that the tests move."""

from collections.abc import Iterator

import pytest

from curate.core.meter import STEPS, metered
from curate.progress.tracker import ProgressTracker
from tests.progress.clock import HandClock


@pytest.fixture
def clock() -> HandClock:
    return HandClock()


@pytest.fixture
def tracker(clock: HandClock) -> Iterator[ProgressTracker]:
    tracker = ProgressTracker(clock)
    with tracker.listening():
        yield tracker


def test_blocks_take_as_long_as_those_before(tracker: ProgressTracker, clock: HandClock) -> None:
    with metered(["embed"], 8, STEPS) as meter:
        (progress,) = tracker.at_work()
        assert (progress.done, progress.total, progress.share, progress.left) == (0, 8, 0.0, None)
        meter.reach(2)
        clock.now += 10
        (progress,) = tracker.at_work()
        assert (progress.elapsed, progress.left, progress.share) == (10, 30, 0.25)
    assert tracker.at_work() == []


def test_the_block_at_work_counts_by_its_share(tracker: ProgressTracker, clock: HandClock) -> None:
    with metered(["embed"], 4, STEPS) as meter:
        meter.reach(1)
        with metered(["embed"]) as inner:
            inner.expect(300, "rows")
            inner.advance(150)
            clock.now += 15
            (progress,) = tracker.at_work()
            assert (progress.share, progress.left) == (1.5 / 4, 25)
            assert progress.inside == "150 of 300 rows"


def test_what_is_reused_says_nothing_of_the_pace(
    tracker: ProgressTracker, clock: HandClock
) -> None:
    with metered(["embed"], 10, STEPS) as meter:
        meter.reach(6, reused=6)
        clock.now += 1
        assert tracker.at_work()[0].left is None
        meter.reach(8, reused=6)
        clock.now += 3
        assert tracker.at_work()[0].left == 4


def test_a_single_step_has_a_share_once_it_says_what_it_expects(
    tracker: ProgressTracker, clock: HandClock
) -> None:
    with metered(["generate"], 1, STEPS), metered(["generate"]) as calls:
        clock.now += 5
        assert tracker.at_work()[0].share is None
        calls.expect(40, "calls")
        calls.advance(10)
        calls.note = "300 tokens/s, 1 failed"
        (progress,) = tracker.at_work()
        assert (progress.share, progress.left) == (0.25, 15)
        assert progress.inside == "10 of 40 calls, 300 tokens/s, 1 failed"


def test_lists_side_by_side_each_have_their_own_steps(tracker: ProgressTracker) -> None:
    with metered(["embed"], 2, STEPS), metered(["losses"], 3, STEPS), metered(["losses"]) as inner:
        inner.expect(10, "rows")
        first, second = tracker.at_work()
    assert (first.names, first.inside) == (("embed",), "")
    assert (second.names, second.inside) == (("losses",), "0 of 10 rows")
