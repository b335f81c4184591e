"""Durations in words: 4.0 s, 2:05, 1:02:05."""


def duration_text(seconds: float) -> str:
    """Return a duration: seconds with a tenth, from a minute on as a clock shows it."""
    return clock_text(seconds) if seconds >= 60 else f"{seconds:.1f} s"


def clock_text(seconds: float) -> str:
    """Return a duration as a clock shows it: 0:04, 2:05, 1:02:05."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
