"""Ctrl-C, kill and a closed terminal: 130 within seconds, one sentence, nothing left behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from tests.terminal import DEADLINE, INTERRUPTED, REPO, TerminalProcess, restore_signals, wait_until

pytestmark = pytest.mark.system

# In main, after the signal: what Python's own handler would wait for.
STUCK = {
    "native code": "hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)",
    "a thread that never ends": (
        "threading.Thread(target=time.sleep, args=(600,)).start()\n    time.sleep(600)"
    ),
    "a library that catches everything": (
        "while True:\n        try: time.sleep(600)\n        except BaseException: pass"
    ),
    "an event loop": "asyncio.run(asyncio.sleep(600))",
    "a child process": "subprocess.run(['sleep', '600'], start_new_session=True)",
}
SIGNALS = {
    "SIGINT": signal.SIGINT,
    "SIGTERM": signal.SIGTERM,
    "SIGHUP": signal.SIGHUP,
}
SCRIPT = """
import asyncio, hashlib, subprocess, sys, threading, time
from pathlib import Path
import psutil
from curate.core.interrupt import InterruptHandler, scratch_folder

def main():
    {work}

with InterruptHandler(), scratch_folder(Path(sys.argv[1])) as folder:
    folder.mkdir()
    (folder / "file").write_text("half")
    print("at work", flush=True)
    main()
"""


def script(work: str, folder: Path) -> list[str]:
    return [
        sys.executable,
        "-c",
        SCRIPT.format(work=textwrap.indent(work, "").strip()),
        str(folder),
    ]


@pytest.mark.parametrize("work", STUCK.values(), ids=STUCK)
def test_control_c_ends_what_python_would_wait_for(work: str, tmp_path: Path) -> None:
    terminal = TerminalProcess(script(work, tmp_path / "scratch"))
    terminal.wait_for(lambda: "at work" in terminal.read())
    time.sleep(0.2)
    children = terminal.relatives()
    terminal.press_control_c()
    status, _ = terminal.end()
    assert status == 130, terminal.output
    assert terminal.output.count(INTERRUPTED) == 1
    assert "Traceback" not in terminal.output
    assert not (tmp_path / "scratch").exists()
    wait_until(
        lambda: not any(child.is_running() and child.status() != "zombie" for child in children)
    )


@pytest.mark.parametrize("number", SIGNALS.values(), ids=SIGNALS)
def test_every_ending_signal_ends_tidily(number: signal.Signals, tmp_path: Path) -> None:
    process = subprocess.Popen(
        script(STUCK["native code"], tmp_path / "scratch"),
        cwd=REPO, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=restore_signals,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "at work\n"
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 130, errors
    assert errors == f"{INTERRUPTED}\n"
    assert not (tmp_path / "scratch").exists()


def test_a_second_control_c_does_not_stop_the_tidying_up(tmp_path: Path) -> None:
    slow = "try: time.sleep(600)\n    finally: print('tidying', flush=True); time.sleep(600)"
    terminal = TerminalProcess(script(slow, tmp_path / "scratch"))
    terminal.wait_for(lambda: "at work" in terminal.read())
    terminal.press_control_c()
    terminal.wait_for(lambda: "tidying" in terminal.read())
    for _ in range(3):
        terminal.press_control_c()
    assert terminal.end()[0] == 130
    assert terminal.output.count(INTERRUPTED) == 1
    assert not (tmp_path / "scratch").exists()


def test_an_ignored_signal_stays_ignored(tmp_path: Path) -> None:
    command = script("sys.stdin.read()", tmp_path / "scratch")
    process = subprocess.Popen(
        ["nohup", *command], cwd=REPO, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert process.stdout is not None
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=DEADLINE)
    assert process.returncode == 0


def test_a_closed_terminal_ends_the_process(tmp_path: Path) -> None:
    terminal = TerminalProcess(script(STUCK["native code"], tmp_path / "scratch"))
    terminal.wait_for(lambda: "at work" in terminal.read())
    terminal.hang_up()
    assert terminal.process.wait(DEADLINE) == 130
    assert not (tmp_path / "scratch").exists()
