"""What a run says while it works: log lines and, on a terminal, a line with the current step below."""

import logging
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.live import Live
from rich.logging import RichHandler
from rich.spinner import Spinner
from rich.text import Text

from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.console import console
from curate.core.escape import printable
from curate.core.store import Artifact, Computation
from curate.pipeline.engine import Submit, inline
from curate.pipeline.run import RunResult


class PrintableFormatter(logging.Formatter):
    """Formats log lines, in which nothing commands a terminal either."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Return a log line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: Any) -> str:
        """Return a traceback."""
        return printable(super().formatException(ei))


def show_log() -> None:
    """Send the library's log lines to the terminal or, elsewhere, as plain lines to stderr."""
    logger = logging.getLogger("curate")
    logger.setLevel(logging.INFO)
    if sys.stderr.isatty():
        handler: logging.Handler = RichHandler(
            console=console(), show_path=False, show_level=False, log_time_format="%X"
        )
        handler.setFormatter(PrintableFormatter("%(message)s"))
    else:
        handler = logging.StreamHandler()
        handler.setFormatter(PrintableFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logger.addHandler(handler)


def run_with_progress(
    config: Config,
    out: Path | None,
    submit: Submit | None = None,
    *,
    overwrite: bool = False,
    command: str | None = None,
) -> RunResult:
    """Run a recipe and show, on a terminal, which step is at work.

    Its arguments are those of curate.pipeline.curation.run_curation, and the engine that computes the
    steps; by default one after the other in this process.
    """
    # The report draws with altair, which `curate check` does not need.
    from curate.pipeline.curation import run_curation  # noqa: PLC0415

    status, submit = StepStatus(config.name), submit or inline(open_store(config.store))

    def execute_all(steps: Sequence[Computation]) -> list[Artifact]:
        artifacts, waits = [], submit(steps)
        for number, (step, wait) in enumerate(zip(steps, waits, strict=True), start=1):
            with status.step(step.name, number, len(steps)):
                artifacts.append(wait())
        return artifacts

    with status.live():
        return run_curation(config, out, execute_all, overwrite=overwrite, command=command)


class StepStatus:
    """The state of a run in one line: its name and time; the step at work, its number and time."""

    def __init__(self, run: str) -> None:
        self._run, self._step = run, ""
        self._started = self._step_started = time.monotonic()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Keep the line at the foot of the terminal; elsewhere the log lines say enough."""
        if not sys.stderr.isatty():
            yield
            return
        self._spinner = Spinner("dots")
        with Live(get_renderable=self._draw, console=console(), transient=True):
            yield

    @contextmanager
    def step(self, name: str, number: int, count: int) -> Iterator[None]:
        """Tell a step of several of its kind while it is at work."""
        self._step = name if count == 1 else f"{name} {number} of {count}"
        self._step_started = time.monotonic()
        try:
            yield
        finally:
            self._step = ""

    def line(self) -> str:
        """Return the state as text."""
        now = time.monotonic()
        whole = f"{self._run}  {_clock(now - self._started)}"
        return f"{whole}  {self._step}  {_clock(now - self._step_started)}" if self._step else whole

    def _draw(self) -> Spinner:
        text = Text(self.line(), no_wrap=True, overflow="ellipsis")
        self._spinner.update(text=text)
        return self._spinner


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
