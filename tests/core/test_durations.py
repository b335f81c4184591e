"""Durations are seconds with a tenth, then what a clock shows."""

import pytest

from curate.core.durations import clock_text, duration_text


@pytest.mark.parametrize(
    ("seconds", "text", "clock"),
    [
        (0.04, "0.0 s", "0:00"),
        (12.34, "12.3 s", "0:12"),
        (125.9, "2:05", "2:05"),
        (3725, "1:02:05", "1:02:05"),
    ],
)
def test_durations(seconds: float, text: str, clock: str) -> None:
    assert duration_text(seconds) == text
    assert clock_text(seconds) == clock
