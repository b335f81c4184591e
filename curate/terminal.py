"""What a run says while it works: log lines and, on a terminal, the steps at work below them."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any

from rich.logging import RichHandler
from rich.text import Text

from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.console import console, console_lock
from curate.core.escape import printable
from curate.pipeline.engine import Submit, executing, inline
from curate.pipeline.run import RunResult
from curate.progress.live import ProgressLines, drawing, is_interactive
from curate.progress.plain import ProgressLog
from curate.progress.ticking import ticking
from curate.progress.tracker import ProgressTracker

LOG = logging.getLogger("curate")
LOOK_SECONDS = 1.0


class Verbosity(IntEnum):
    """How much a run says: errors alone, its steps and warnings, or what each step read."""

    QUIET = logging.ERROR
    NORMAL = logging.INFO
    VERBOSE = logging.DEBUG


class PrintableFormatter(logging.Formatter):
    """Formats log lines, in which nothing commands a terminal either; warnings say that they are."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return a log line."""
        if record.levelno == logging.WARNING:
            record.message = f"warning: {record.message}"
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return a traceback."""
        return printable(super().formatException(ei))


class TerminalHandler(RichHandler):
    """Prints log lines above the steps at work."""

    def __init__(self) -> None:
        super().__init__(
            console=console(), show_time=False, show_level=False, show_path=False, markup=False
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Print a line while nobody draws."""
        with console_lock():
            super().emit(record)

    def render_message(self, record: logging.LogRecord, message: str) -> Text:
        """Return a line: a warning in yellow, a detail dimmed."""
        style = "yellow" if record.levelno >= logging.WARNING else ""
        return Text(message, style="dim" if record.levelno < logging.INFO else style)


def show_log(verbosity: Verbosity = Verbosity.NORMAL) -> None:
    """Send the library's log lines to the terminal or, elsewhere, as plain lines to stderr."""
    LOG.setLevel(verbosity)
    if is_interactive(console()):
        handler: logging.Handler = TerminalHandler()
        handler.setFormatter(PrintableFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    LOG.addHandler(handler)


@contextmanager
def showing_progress(name: str) -> Iterator[None]:
    """Show the steps at work of a run: on a terminal below the log, elsewhere in it now and then."""
    tracker = ProgressTracker()
    with tracker.listening():
        if not LOG.isEnabledFor(logging.INFO):
            yield
        elif is_interactive(console()):
            lines = ProgressLines(name, tracker)
            with drawing(lines, console(), console_lock()):
                yield
        else:
            with ticking(ProgressLog(tracker).look, LOOK_SECONDS):
                yield


def run_with_progress(
    config: Config,
    out: Path | None,
    submit: Submit | None = None,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> RunResult:
    """Run a recipe and show which steps are at work.

    Its arguments are those of curate.pipeline.curation.run_curation, and the engine that computes the
    steps; by default one after the other in this process.
    """
    # The report draws with altair, which `curate check` does not need.
    from curate.pipeline.curation import run_curation  # noqa: PLC0415

    engine = submit or inline(open_store(config.store))
    with showing_progress(config.name):
        return run_curation(config, out, executing(engine), overwrite=overwrite, command=command)
