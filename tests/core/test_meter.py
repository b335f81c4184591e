"""Work counts itself on a meter, whoever listens."""

import logging

import pytest

from curate.core.meter import METERS, STEPS, Meter, current_meter, metered


class Listener(logging.Handler):
    """Keeps the meters that were announced, and whether they had ended by then."""

    def __init__(self) -> None:
        super().__init__()
        self.announced: list[tuple[Meter, bool]] = []

    def emit(self, record: logging.LogRecord) -> None:
        meter: Meter = record.__dict__["meter"]
        self.announced.append((meter, meter.ended))


@pytest.fixture
def listener() -> Listener:
    return Listener()


def test_a_meter_is_announced_at_its_start_and_end_and_is_the_current_one_between(
    listener: Listener,
) -> None:
    METERS.addHandler(listener)
    try:
        with metered(["embed"], 8, STEPS) as steps, metered(["embed"]) as inner:
            current_meter().expect(120, "rows")
            current_meter().advance(30)
            assert (inner.done, inner.total, inner.unit) == (30, 120, "rows")
        assert current_meter() is not steps
    finally:
        METERS.removeHandler(listener)
    assert listener.announced == [(steps, False), (inner, False), (inner, True), (steps, True)]


def test_work_that_fails_ends_its_meter(listener: Listener) -> None:
    METERS.addHandler(listener)
    try:
        with pytest.raises(ValueError, match="halt"), metered(["embed"]):
            raise ValueError("halt")
    finally:
        METERS.removeHandler(listener)
    assert [ended for _, ended in listener.announced] == [False, True]


def test_without_a_meter_counting_does_no_harm() -> None:
    current_meter().expect(3, "rows")
    current_meter().advance()
    assert (current_meter().done, current_meter().total) == (0, 0)


def test_what_is_reached_never_gets_less() -> None:
    meter = Meter(["embed"], 8, STEPS)
    meter.reach(5, 2)
    meter.reach(1, 0)
    assert (meter.done, meter.reused) == (5, 2)
