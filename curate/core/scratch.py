"""Temporary folders outside the store: gone with their process, or removed by the next one.

    /tmp/curate-scratch-k2j9x1qz      locked (flock) by the process that works in it

A process that is killed removes nothing, but its lock is free from then on.
"""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from curate.core.interrupt import remove_folder, scratch_folder
from curate.core.runlock import try_lock
from curate.core.writable import written_below

SETTING = "set TMPDIR to another folder"
# Short, since the paths of sockets below it have about 100 characters.
PREFIX = "curate-scratch-"
# A younger folder may be one that its process has not locked yet.
SETTLED_SECONDS = 60.0


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """Yield a new, locked folder for temporary files, which is removed at the end.

    Raises:
        UserError: it cannot be made.
    """
    remove_abandoned()
    with written_below(Path(tempfile.gettempdir()), SETTING):
        folder = Path(tempfile.mkdtemp(prefix=PREFIX))
    with scratch_folder(folder), _opened(folder) as descriptor:
        try_lock(descriptor)
        yield folder


def remove_abandoned() -> None:
    """Remove the temporary folders of this user whose process is gone."""
    for folder in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            if _is_abandoned(folder):
                remove_folder(folder)


def _is_abandoned(folder: Path) -> bool:
    status = folder.lstat()
    if status.st_uid != os.getuid() or time.time() - status.st_mtime < SETTLED_SECONDS:
        return False
    with _opened(folder) as descriptor:
        return try_lock(descriptor)


@contextmanager
def _opened(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
