"""The command line in this process, which has imported what it needs."""

import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import pytest

from curate.cli import main

REPO = Path(__file__).parents[1]


@dataclass(frozen=True)
class CommandResult:
    returncode: int
    stdout: str
    stderr: str


def curate(*arguments: str, folder: Path = REPO) -> CommandResult:
    """Run the command line in a folder."""
    out, err, code = StringIO(), StringIO(), 0
    log = logging.getLogger("curate")
    level = log.level
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["curate", *arguments])
        # Neither the log of other tests nor that of this command reaches the other.
        patch.setattr(log, "handlers", [])
        log.setLevel(logging.NOTSET)
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            log.setLevel(level)
    return CommandResult(code, out.getvalue(), err.getvalue())
