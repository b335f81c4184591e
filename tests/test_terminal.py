"""What a run says on a terminal and elsewhere: lines drawn over, and lines of a log."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.terminal import REPO, TerminalProcess

# Steps go on when a key is pressed.
PROGRAM = """
import logging, sys
from curate.core.meter import STEPS, metered
from curate.terminal import Verbosity, show_log, showing_progress
log = logging.getLogger("curate")
for verbosity in sys.argv[1:]:
    log.handlers.clear()
    show_log(Verbosity[verbosity])
    with showing_progress("quick"):
        with metered(["embed"], 8, STEPS) as meter:
            meter.reach(3)
            input()
        log.info("Embed rows \\x1b[2J done")
        log.warning("one row is odd")
        log.debug("it read much")
        with metered(["losses"], 2, STEPS):
            input()
    print("END", file=sys.stderr)
"""
UP, CLEAR = "\x1b[1A", "\x1b[2K"


def on_terminal(**variables: str) -> TerminalProcess:
    env = {name: v for name, v in os.environ.items() if name not in ("NO_COLOR", "TERM")}
    command = [sys.executable, "-c", PROGRAM, "NORMAL"]
    return TerminalProcess(command, env={**env, "TERM": "xterm", **variables})


def finished(terminal: TerminalProcess) -> str:
    status, _ = terminal.end()
    assert status == 0, terminal.read()
    return terminal.read()


@pytest.mark.system
def test_a_step_at_work_is_drawn_over_and_log_lines_stand_above_it() -> None:
    terminal = on_terminal()
    terminal.wait_for(lambda: "3/8" in terminal.read())
    terminal.press("\n")
    terminal.wait_for(lambda: "0/2" in terminal.read())
    assert UP in terminal.read() and CLEAR in terminal.read()
    terminal.press("\n")
    text = finished(terminal)
    assert text.rindex("3/8") < text.rindex("0/2")
    assert "\x1b[2J" not in text
    assert "\x1b[33mwarning: one row is odd" in text
    assert "it read much" not in text
    assert text.rstrip().endswith("END")


@pytest.mark.system
def test_without_colours_bars_stay() -> None:
    terminal = on_terminal(NO_COLOR="1")
    terminal.wait_for(lambda: "3/8" in terminal.read())
    terminal.press("\n")
    terminal.wait_for(lambda: "0/2" in terminal.read())
    terminal.press("\n")
    text = finished(terminal)
    assert "\x1b[33m" not in text
    assert "━━━━" in text


@pytest.mark.system
def test_a_dumb_terminal_gets_the_lines_of_a_log() -> None:
    terminal = on_terminal(TERM="dumb")
    terminal.press("\n\n")
    text = finished(terminal)
    assert "\x1b" not in text
    assert " warning: one row is odd" in text
    assert "3/8" not in text


@pytest.mark.system
def test_elsewhere_log_lines_have_the_time_and_go_to_stderr() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, "QUIET", "NORMAL", "VERBOSE"],
        cwd=REPO, input="\n" * 6, capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.stdout == ""
    quiet, normal, verbose, _ = done.stderr.split("END\n")
    assert quiet == ""
    lines = ["Embed rows \\x1b[2J done", "warning: one row is odd"]
    assert [line.split(" ", 1)[1] for line in normal.splitlines()] == lines
    lines += ["it read much"]
    assert [line.split(" ", 1)[1] for line in verbose.splitlines()] == lines
