"""The steps at work in a notebook: a table below the cell while they go on, gone at the end.

Embed rows  [======      ]  3 of 8  0:12  0:20 left  120 of 300 rows
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import Any

from curate.core.durations import clock_text
from curate.progress.live import left_text
from curate.progress.ticking import ticking
from curate.progress.tracker import ProgressTracker, StepProgress
from curate.report.wording import steps_label

REFRESH_SECONDS = 0.5
STYLE = "text-align:left;white-space:nowrap"


@contextmanager
def showing_in_notebook() -> Iterator[None]:
    """Show the steps at work below the current cell; nothing where there is none, as in a script."""
    display = notebook_display()
    if display is None:
        yield
        return
    tracker = ProgressTracker()

    def show() -> None:
        _update(display, progress_html(tracker.at_work()))

    with tracker.listening(), ticking(show, REFRESH_SECONDS):
        yield
    _update(display, "")


def progress_html(steps: Sequence[StepProgress]) -> str:
    """Return a table of steps at work: name, bar, how many are done, times, the part at work."""
    return f"<table>{''.join(map(_line, steps))}</table>" if steps else ""


def _line(progress: StepProgress) -> str:
    share = "" if progress.share is None else f' value="{progress.share:.4f}"'
    count = f"{progress.done:,} of {progress.total:,}" if progress.total > 1 else ""
    cells = (
        escape(steps_label(progress.names)),
        f"<progress{share}></progress>",
        count,
        clock_text(progress.elapsed),
        left_text(progress),
        escape(progress.inside),
    )
    opening = f'<td style="{STYLE}">'
    return f"<tr>{''.join(f'{opening}{cell}</td>' for cell in cells)}</tr>"


def _update(display: Any, html: str) -> None:
    display.update({"text/html": html, "text/plain": ""}, raw=True)


def notebook_display() -> Any:
    """Return an empty output of the current cell that can be updated, None outside of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    return ipython.display.display(  # type: ignore[union-attr]
        {"text/html": "", "text/plain": ""}, raw=True, display_id=True
    )
