"""Steps that take long say so every half a minute where nothing is drawn over."""

import pytest

from curate.core.meter import STEPS, metered
from curate.progress.plain import ProgressLog
from curate.progress.tracker import ProgressTracker
from tests.progress.clock import HandClock


def test_a_long_step_says_how_far_it_is_every_half_a_minute(
    caplog: pytest.LogCaptureFixture,
) -> None:
    clock = HandClock()
    tracker = ProgressTracker(clock)
    log = ProgressLog(tracker)
    caplog.set_level("INFO", "curate")
    with tracker.listening(), metered(["embed"], 8, STEPS) as meter:
        for seconds, done in ((29, 1), (30, 2), (31, 2), (59, 4), (61, 4)):
            clock.now = 100 + seconds
            meter.reach(done)
            log.look()
    assert caplog.messages == [
        "Embed rows: 2 of 8, 0:30 so far, 1:30 left",
        "Embed rows: 4 of 8, 1:01 so far, 1:01 left",
    ]
    with tracker.listening(), metered(["embed"], 2, STEPS):
        clock.now += 30
        log.look()
    assert caplog.messages[2:] == ["Embed rows: 0 of 2, 0:30 so far"]
