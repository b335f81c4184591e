"""Folders of unfinished work: who builds in them, and when nobody does any more.

    STORE/tmp/work-5f0c...          what a step has written so far
    STORE/tmp/work-5f0c....lock     held by its builder, which touches it every minute

A lock ends with its process, however that ends, and holds between containers of one machine, which do
not see each other's processes. Not every file system shows the locks of other machines, so their work
is left alone until it has not been touched for a day; and then for an hour more, since a clock that
jumps makes old what is not:

    STORE/tmp/work-5f0c....aged    when its builder last touched the lock, as the first to wonder saw it
"""

import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

import psutil

from curate.core.interrupt import cleanup, remove_folder
from curate.core.runlock import try_lock
from curate.core.ticker import ticker

LOCK = ".lock"
PREFIX = "work-"
OLDER_NAMES = re.compile(r"\d+-[0-9a-f]{32}")
HEARTBEAT_SECONDS = 60.0
ABANDONED_SECONDS = 24 * 3600.0
PROBATION_SECONDS = 3600.0
AGED = ".aged"


@contextmanager
def workspace(root: Path) -> Iterator[Path]:
    """Yield a new, locked folder below root; it is removed at the end, unless it was moved away."""
    root.mkdir(parents=True, exist_ok=True)
    folder = root / f"{PREFIX}{uuid.uuid4().hex}"
    lock = _lock_of(folder)

    def discard() -> None:
        remove_folder(folder)
        lock.unlink(missing_ok=True)
        lock.with_suffix(AGED).unlink(missing_ok=True)

    with lock.open("x") as file, cleanup(discard):
        # Written once the lock is held: no one who reads it finds the lock free.
        if try_lock(file.fileno()):
            file.write(machine())
            file.flush()
        folder.mkdir()
        sweep(root, now=lock.stat().st_mtime)
        with ticker().every(HEARTBEAT_SECONDS, lambda: _beat(lock)):
            yield folder


def _beat(lock: Path) -> None:
    with suppress(OSError):
        os.utime(lock)


def living(root: Path) -> list[Path]:
    """Return the folders below root whose builder may be alive, after sweeping the others."""
    if not root.is_dir():
        return []
    with suppress(OSError):
        sweep(root, now=time.time())
    return [folder for folder in root.glob(f"{PREFIX}*") if folder.is_dir()]


def sweep(root: Path, *, now: float) -> None:
    """Remove the folders whose builder is dead or has shown no life for a day.

    Args:
        root: where workspaces lie.
        now: the time by the clock that the file system stamps files with, which may be a server's.
    """
    for path in root.iterdir():
        with suppress(OSError):
            if path.name.startswith(PREFIX) and path.name.endswith(LOCK):
                if _is_abandoned(path, now):
                    shutil.rmtree(path.with_suffix(""), ignore_errors=True)
                    path.unlink()
                    path.with_suffix(AGED).unlink(missing_ok=True)
            # Older versions wrote no locks. Whatever has another name is not ours.
            elif OLDER_NAMES.fullmatch(path.name) and _is_old(path, now):
                shutil.rmtree(path, ignore_errors=True)


@lru_cache(maxsize=1)
def machine() -> str:
    """Return what identifies this machine since its last start, in all of its containers."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{socket.gethostname()} {psutil.boot_time():.0f}"


def _lock_of(folder: Path) -> Path:
    return folder.with_name(folder.name + LOCK)


def _is_abandoned(lock: Path, now: float) -> bool:
    if lock.read_text() != machine():
        return _is_old(lock, now) and _stays_old(lock, now)
    descriptor = os.open(lock, os.O_RDWR)
    try:
        return try_lock(descriptor)
    finally:
        os.close(descriptor)


def _stays_old(lock: Path, now: float) -> bool:
    """Return whether a lock that is old has not been touched since that was first seen, an hour ago."""
    aged, touched = lock.with_suffix(AGED), str(lock.stat().st_mtime_ns)
    if aged.exists() and aged.read_text() == touched:
        return now - aged.stat().st_mtime > PROBATION_SECONDS
    aged.write_text(touched)
    return False


def _is_old(path: Path, now: float) -> bool:
    return now - path.stat().st_mtime > ABANDONED_SECONDS
