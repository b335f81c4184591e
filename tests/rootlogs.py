"""What a test logs, caught at the root alone, where all loggers of ours lead.

pytest attaches its handlers to every logger that does not lead to the root, and looks for these six
times a test: among hundreds, once torch and Prefect are imported, which takes as long as a small test.
"""

import logging

import pytest
from _pytest import logging as pytest_logging

Handler = logging.Handler


class RootLogs:
    """Attaches a handler to the root while a part of a test runs."""

    def __init__(self, handler: Handler, level: int | None = None) -> None:
        self.handler, self.level, self.before = handler, level, logging.root.level

    def __enter__(self) -> Handler:
        self.before = logging.root.level
        logging.root.addHandler(self.handler)
        if self.level is not None:
            self.handler.setLevel(self.level)
            logging.root.setLevel(min(self.before, self.level))
        return self.handler

    def __exit__(self, *fault: object) -> None:
        if self.level is not None:
            logging.root.setLevel(self.before)
        logging.root.removeHandler(self.handler)


def catch_at_the_root() -> None:
    """Let pytest catch logs so from now on."""
    pytest.MonkeyPatch().setattr(pytest_logging, "catching_logs", RootLogs)
