"""A program on a terminal of its own: what a person at a keyboard does and sees."""

import fcntl
import os
import signal
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil

REPO = Path(__file__).parents[1]
INTERRUPTED = "Interrupted; finished steps are kept, and the same command goes on from there."
# For busy machines; what a person waits is about two seconds.
DEADLINE = 900.0


def wait_until(condition: Callable[[], object], failure: Callable[[], str] = lambda: "") -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, f"timed out; {failure()}"
        time.sleep(0.05)


def restore_signals() -> None:
    """Let signals end this process as on a terminal: under nohup it would ignore them."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


def open_session() -> None:
    """Make standard input the controlling terminal of this process, whose end hangs it up."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    restore_signals()


class TerminalProcess:
    """A process whose controlling terminal is ours to type at and to read."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._keyboard, screen = os.openpty()
        self.output = ""
        self.process = subprocess.Popen(
            command, cwd=REPO, env=env, stdin=screen, stdout=screen, stderr=screen,
            start_new_session=True, preexec_fn=open_session,
        )  # fmt: skip
        os.close(screen)
        os.set_blocking(self._keyboard, False)

    def read(self) -> str:
        """Return everything printed so far."""
        try:
            while data := os.read(self._keyboard, 65536):
                self.output += data.decode(errors="replace")
        except OSError:  # nothing there now, or nobody at the other end
            pass
        return self.output

    def wait_for(self, condition: Callable[[], object]) -> None:
        def reached() -> object:
            assert self.process.poll() is None, self.read()
            return condition()

        wait_until(reached, self.read)

    def press(self, keys: str) -> None:
        os.write(self._keyboard, keys.encode())

    def press_control_c(self) -> None:
        os.write(self._keyboard, b"\x03")

    def hang_up(self) -> None:
        """Close the terminal, as a window or an ssh connection does."""
        os.close(self._keyboard)

    def end(self) -> tuple[int, float]:
        """Return the exit status and the seconds that it took to come."""
        started = time.monotonic()
        try:
            wait_until(lambda: self.read() is None or self.process.poll() is not None, self.read)
        finally:
            self.kill()
        return self.process.returncode, time.monotonic() - started

    def relatives(self) -> list[psutil.Process]:
        """Return the process's children, theirs too, with those in sessions of their own."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def kill(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
