"""How far a stage of generation is: calls, tokens and failures, on the meter of its step."""

import logging
import time
from types import TracebackType

from curate.core.meter import current_meter
from curate.llm.requests import Completion

LOG = logging.getLogger("curate")


class Progress:
    """Counts calls, tokens and failures of one stage while it runs; a log line sums up at the end.

    Args:
        stage: its name.
    """

    def __init__(self, stage: str) -> None:
        self._stage, self._meter = stage, current_meter()
        self._total = self._stored = self._calls = self._tokens = self._failures = 0

    def __enter__(self) -> "Progress":
        self._started = time.monotonic()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._total or self._stored:
            LOG.info("%s: %s", self._stage, self.line())

    def expect(self, calls: int, stored: int) -> None:
        """Expect further calls; `stored` answers need none."""
        self._total += calls
        self._stored += stored
        self._meter.expect(calls, "calls")

    def add(self, completion: Completion) -> None:
        """Count a completion."""
        self._calls += 1
        self._tokens += completion.completion_tokens
        self._failures += completion.finish not in ("ok", "truncated")
        self._meter.advance()
        self._meter.note = self._rates()

    def line(self) -> str:
        """Return the state as text."""
        stored = f", {self._stored:,} stored" if self._stored else ""
        return f"{self._calls:,}/{self._total:,} calls, {self._rates()}{stored}"

    def _rates(self) -> str:
        seconds = max(time.monotonic() - self._started, 1e-9)
        return f"{self._tokens / seconds:,.0f} tokens/s, {self._failures:,} failed"
