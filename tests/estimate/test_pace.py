"""The range of an estimate comes from what was timed, and from the rows that were not looked at."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.estimate.pace import Range, exactly, mean_of_sample, measure_pace


class Clock:
    """A clock that only work moves, each time by the next of the given seconds."""

    def __init__(self, *seconds: float) -> None:
        self.now, self.seconds = 0.0, list(seconds)

    def work(self) -> None:
        self.now += self.seconds.pop(0)


def pace(
    monkeypatch: pytest.MonkeyPatch, sizes: list[float], *times: float, of: float = 0
) -> Range:
    clock = Clock(*times)
    monkeypatch.setattr("curate.estimate.pace.clock", lambda: clock.now)
    return measure_pace([(size, clock.work) for size in sizes], seconds=of)


def test_batches_that_take_alike_give_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pace(monkeypatch, [10, 20], 5, 10) == exactly(0.5)


def test_the_range_is_that_of_the_fastest_and_the_slowest_batches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one = pace(monkeypatch, [1.0], 1, 1, 2, 2, 2, 2, 4, 6, of=20)
    assert one == Range(1.0, 20 / 8, 5.0)


def test_batches_of_other_lengths_widen_the_range(monkeypatch: pytest.MonkeyPatch) -> None:
    short, mixed = pace(monkeypatch, [10], 1), pace(monkeypatch, [10, 10, 10], 1, 1, 4)
    assert short.high == short.low and mixed.high == pytest.approx(0.4) and mixed.low == 0.1


def test_every_batch_is_timed_and_then_as_many_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pace(monkeypatch, [1, 1, 1], 9, 9, 9, of=1) == exactly(9)
    assert pace(monkeypatch, [1], 1, 1, 1, of=2.5) == exactly(1)


lengths = st.lists(st.integers(0, 1_000), min_size=1, max_size=50)


@given(values=lengths, more=st.integers(0, 10_000))
def test_the_mean_is_certain_once_all_rows_are_read_and_within_its_range_before(
    values: list[int], more: int
) -> None:
    mean = mean_of_sample(values, len(values) + more)
    assert 0 <= mean.low <= mean.likely <= mean.high
    assert mean_of_sample(values, len(values)) == exactly(mean.likely)


@given(values=lengths.filter(lambda v: len(set(v)) > 1))
def test_a_larger_sample_of_the_same_spread_says_more(values: list[int]) -> None:
    few, many = mean_of_sample(values, 10**6), mean_of_sample(values * 4, 10**6)
    assert many.high - many.likely < few.high - few.likely


def test_ranges_add_up_and_multiply() -> None:
    one = Range(1, 2, 4)
    assert one + exactly(1) == Range(2, 3, 5)
    assert one * 3 == Range(3, 6, 12) and one * one == Range(1, 4, 16)
    assert sum([one, one], Range()) == one * 2
