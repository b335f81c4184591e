"""Ctrl-C, kill and a closed terminal: the process ends within seconds and leaves nothing behind.

Python runs a signal's handler between two bytecodes of the main thread, so a matrix product or a
join of minutes puts it off. The signal's number, however, is written to a pipe at once: a thread
reads it, gives the main thread a moment to unwind, and then ends the process by itself.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MESSAGE = "Interrupted; finished steps are kept, and the same command goes on from there."
STATUS = 130
GRACE_SECONDS = 1.2
SHOW_CURSOR = "\x1b[?25h"
# Of the process, as signals are: what must be done when it is ended from outside the main thread.
_cleanups: list[Callable[[], None]] = []


@contextmanager
def cleanup(tidy: Callable[[], None]) -> Iterator[None]:
    """Call a function at the end, also where an interrupt ends the process by force."""
    _cleanups.append(tidy)
    try:
        yield
    finally:
        tidy()
        _cleanups.remove(tidy)


@contextmanager
def scratch_folder(path: Path) -> Iterator[Path]:
    """Remove a temporary folder at the end, also where an interrupt ends the process by force."""
    with cleanup(lambda: remove_folder(path)):
        yield path


class InterruptHandler:
    """A signal handler for the command line: an interrupt ends the process tidily, with status 130.

    The main thread unwinds by a SystemExit, which libraries let pass; when it has not done so after
    GRACE_SECONDS, a thread removes the scratch folders and child processes in its place.
    """

    def __init__(self) -> None:
        self._pending = False
        self._end = threading.Lock()

    def __enter__(self) -> None:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._writer, False)
        self._wakeup = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        # What is ignored stays ignored: nohup, and jobs in the background of a script.
        self._handlers = {
            number: signal.signal(number, self._unwind)
            for number in SIGNALS
            if signal.getsignal(number) is not signal.SIG_IGN
        }
        threading.Thread(target=self._watch, name="interrupt", daemon=True).start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._pending:
            _flush()
            self._finish()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.close(self._writer)

    def _unwind(self, number: int, frame: FrameType | None) -> None:
        """Leave the main thread's work, once: a second signal must not stop the tidying up."""
        if self._pending:
            return
        self._pending = True
        # A library may have taken the process's wakeup descriptor for an event loop of its own.
        with suppress(OSError):
            os.write(self._writer, bytes([number]))
        raise SystemExit(STATUS)

    def _watch(self) -> None:
        while number := os.read(self._reader, 1):
            if number[0] in self._handlers:
                time.sleep(GRACE_SECONDS)
                self._pending = True
                self._finish()
        os.close(self._reader)

    def _finish(self) -> NoReturn:
        """Remove scratch folders and child processes, say so, and end without waiting for threads."""
        self._end.acquire()
        try:
            _kill_children()
            for tidy in reversed(_cleanups):
                with suppress(OSError):
                    tidy()
            start = f"\r{SHOW_CURSOR}\n" if os.isatty(2) else ""
            os.write(2, f"{start}{MESSAGE}\n".encode())
        finally:
            os._exit(STATUS)


def leave(status: int) -> NoReturn:
    """End the process without waiting for threads that libraries have left behind."""
    _flush()
    os._exit(status)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _kill_children() -> None:
    # Nothing that starts processes runs without psutil, and an import could wait for a lock.
    if psutil := sys.modules.get("psutil"):
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                child.kill()


def remove_folder(folder: Path) -> None:
    """Remove a folder into which native code may still be writing."""
    import shutil  # takes long enough to be hit by a signal before there is a handler  # noqa: PLC0415

    for _ in range(10):
        shutil.rmtree(folder, ignore_errors=True)
        if not folder.exists():
            return
        time.sleep(0.05)
