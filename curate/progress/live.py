"""The steps at work on a terminal: a line each at its foot, which go when the steps are done.

Embed rows           ━━━━╸━━━━━━━  3/8  0:12  0:15 left  120 of 300 rows
⠋ quickstart  1:05
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from curate.core.durations import clock_text
from curate.core.escape import printable
from curate.progress.ticking import ticking
from curate.progress.tracker import Clock, ProgressTracker, StepProgress
from curate.report.wording import steps_label

# Widths of columns; the last one takes what is left.
LABEL, BAR, COUNT, CLOCK, LEFT = 26, 12, 5, 4, 9
# Seconds before which nobody can tell how long a step takes.
YOUNG = 2.0
REFRESH_SECONDS = 0.25


class ProgressLines:
    """The lines of a run's steps at work and, below, of the run: its name and its time.

    Args:
        run: its name.
        tracker: knows the steps.
        clock: as the tracker's.
    """

    def __init__(self, run: str, tracker: ProgressTracker, clock: Clock = time.monotonic) -> None:
        self._run, self._tracker, self._clock = printable(run), tracker, clock
        self._started, self._spinner = clock(), Spinner("dots")

    def render(self) -> RenderableType:
        """Return the lines as they are now."""
        table = Table.grid(padding=(0, 2, 0, 0), expand=True)
        table.add_column(no_wrap=True, overflow="ellipsis", width=LABEL)
        table.add_column(width=BAR)
        for width in (COUNT, CLOCK, LEFT):
            table.add_column(no_wrap=True, justify="right", min_width=width)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim", ratio=1)
        for progress in self._tracker.at_work():
            table.add_row(*_cells(progress))
        whole = f"{self._run}  {clock_text(self._clock() - self._started)}"
        self._spinner.update(text=Text(whole, no_wrap=True, overflow="ellipsis"))
        return Group(table, self._spinner) if table.row_count else self._spinner


@contextmanager
def drawing(lines: ProgressLines, console: Console, lock: RLock) -> Iterator[None]:
    """Keep the lines at the foot of a terminal.

    Args:
        lines: of the steps at work.
        console: of the terminal.
        lock: held while the lines are drawn, as by whoever prints above them; rich by itself would
            leave some behind now and then.
    """
    live = Live(
        get_renderable=lines.render, console=console, transient=True, auto_refresh=False,
        redirect_stdout=False, redirect_stderr=False,
    )  # fmt: skip

    def refresh() -> None:
        with lock:
            live.refresh()

    with live, ticking(refresh, REFRESH_SECONDS):
        yield


def _cells(progress: StepProgress) -> tuple[RenderableType, ...]:
    return (
        Text(printable(steps_label(progress.names))),
        _bar(progress),
        f"{progress.done:,}/{progress.total:,}" if progress.total > 1 else "",
        clock_text(progress.elapsed),
        left_text(progress),
        Text(printable(progress.inside)),
    )


def _bar(progress: StepProgress) -> RenderableType:
    if progress.share is None:
        return ProgressBar(width=BAR, pulse=True, animation_time=progress.elapsed)
    return ProgressBar(total=1.0, completed=progress.share, width=BAR)


def left_text(progress: StepProgress) -> str:
    """Return how long a step takes yet, in words; nothing where that is not known."""
    if progress.left is None or progress.elapsed < YOUNG:
        return ""
    return f"{clock_text(progress.left)} left"


def is_interactive(console: Console) -> bool:
    """Return whether lines can be drawn over on a console: not in a file, nor on a dumb terminal."""
    return console.file.isatty() and console.is_terminal and not console.is_dumb_terminal
