"""The steps at work where nothing is drawn over, as in a log file: a line of each now and then.

06:12:33 Embed rows: 3 of 8, 120 of 300 rows, 0:42 so far, 0:52 left
"""

import logging

from curate.core.durations import clock_text
from curate.progress.live import left_text
from curate.progress.tracker import ProgressTracker, StepProgress
from curate.report.wording import steps_label

LOG = logging.getLogger("curate")
LINE_SECONDS = 30.0


class ProgressLog:
    """Logs how far steps are that take long, every LINE_SECONDS of each.

    Args:
        tracker: knows the steps.
    """

    def __init__(self, tracker: ProgressTracker) -> None:
        self._tracker = tracker
        self._lines: dict[float, int] = {}

    def look(self) -> None:
        """Log the steps whose time has come."""
        at_work = self._tracker.at_work()
        starts = {progress.started for progress in at_work}
        self._lines = {start: count for start, count in self._lines.items() if start in starts}
        for progress in at_work:
            due = int(progress.elapsed / LINE_SECONDS)
            if due > self._lines.get(progress.started, 0):
                self._lines[progress.started] = due
                LOG.info("%s", progress_line(progress))


def progress_line(progress: StepProgress) -> str:
    """Return how far steps are in a sentence."""
    count = f"{progress.done:,} of {progress.total:,}" if progress.total > 1 else ""
    parts = [count, progress.inside, f"{clock_text(progress.elapsed)} so far", left_text(progress)]
    return f"{steps_label(progress.names)}: {', '.join(part for part in parts if part)}"
