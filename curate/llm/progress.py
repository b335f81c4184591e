"""How far a stage of generation is: a bar on a terminal, a log line now and then elsewhere."""

import logging
import sys
import time
from types import TracebackType

from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from curate.core.console import console
from curate.llm.requests import Completion

LOG = logging.getLogger("curate")
LINE_SECONDS = 10.0


class Progress:
    """Counts calls, tokens and failures of one stage while it runs.

    Args:
        stage: its name.
        every: seconds between log lines.
    """

    def __init__(self, stage: str, every: float = LINE_SECONDS) -> None:
        self._stage, self._every = stage, every
        self._total = self._stored = self._calls = self._tokens = self._failures = 0
        self._bar: Bar | None = None

    def __enter__(self) -> "Progress":
        self._started = self._logged_at = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._total or self._stored:
            LOG.info("%s: %s", self._stage, self.line())

    def expect(self, calls: int, stored: int) -> None:
        """Expect further calls; `stored` answers need none."""
        self._total += calls
        self._stored += stored
        if self._bar is None and self._total and sys.stderr.isatty():
            self._bar, self._task = _open_bar(self._stage)
        if self._bar is not None:
            self._bar.update(self._task, total=self._total)

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        self._calls += 1
        self._tokens += completion.completion_tokens
        self._failures += completion.finish not in ("ok", "truncated")
        if self._bar is not None:
            self._bar.update(self._task, completed=self._calls, rates=self._rates())
        elif time.monotonic() - self._logged_at >= self._every:
            self._logged_at = time.monotonic()
            LOG.info("%s: %s", self._stage, self.line())

    def line(self) -> str:
        """Return the state as text."""
        stored = f", {self._stored:,} stored" if self._stored else ""
        return f"{self._calls:,}/{self._total:,} calls, {self._rates()}{stored}"

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{self._tokens / seconds:,.0f} tokens/s, {self._failures:,} failed"


def _open_bar(stage: str) -> tuple[Bar, TaskID]:
    bar = Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rates]}"),
        TimeRemainingColumn(),
        console=console(),
        transient=True,
    )
    task = bar.add_task(escape(stage), total=0, rates="")
    bar.start()
    return bar, task
