"""Work counts itself on a meter, whoever listens."""

import pytest

from curate.core.meter import STEPS, Meter, current_meter, listening, metered


class MeterRecord:
    """Keeps the meters that were announced, and whether they had ended by then."""

    def __init__(self) -> None:
        self.announced: list[tuple[Meter, bool]] = []

    def __call__(self, meter: Meter) -> None:
        self.announced.append((meter, meter.ended))


def test_a_meter_is_announced_at_its_start_and_end_and_is_the_current_one_between() -> None:
    record = MeterRecord()
    with listening(record), metered(["embed"], 8, STEPS) as steps, metered(["embed"]) as inner:
        current_meter().expect(120, "rows")
        current_meter().advance(30)
        assert (inner.done, inner.total, inner.unit) == (30, 120, "rows")
    with metered(["unheard"]):
        pass
    assert record.announced == [(steps, False), (inner, False), (inner, True), (steps, True)]


def test_work_that_fails_ends_its_meter() -> None:
    record = MeterRecord()
    with listening(record), pytest.raises(ValueError, match="halt"), metered(["embed"]):
        raise ValueError("halt")
    assert [ended for _, ended in record.announced] == [False, True]


def test_without_a_meter_counting_does_no_harm() -> None:
    current_meter().expect(3, "rows")
    current_meter().advance()
    assert (current_meter().done, current_meter().total) == (0, 0)


def test_what_is_reached_never_gets_less() -> None:
    meter = Meter(["embed"], 8, STEPS)
    meter.reach(5, 2)
    meter.reach(1, 0)
    assert (meter.done, meter.reused) == (5, 2)
