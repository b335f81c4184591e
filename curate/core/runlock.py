"""An advisory lock on a run folder, held by one process and gone with it, whatever ends it."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from curate.core.errors import UserError
from curate.core.interrupt import cleanup
from curate.core.writable import make_folder

LOG = logging.getLogger("curate")


class FolderLock(ExitStack):
    """Locks on folders: a file lock (flock) on the folder itself, so that no lock file stays behind."""

    def extend(self, folder: Path) -> None:
        """Lock one more folder, made if need be.

        Raises:
            UserError: another process has locked it, or there can be no such folder.
        """
        while True:
            make_folder(folder, "give another --out")
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            self.callback(os.close, descriptor)
            _lock(descriptor, folder)
            # Another run's folder may have taken this one's place between opening and locking.
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), folder.stat()):
                    return


def try_lock(descriptor: int) -> bool:
    """Lock an open file; return False where another holds it or the file system knows no locks."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        holder = _holder(os.fstat(descriptor))
        raise UserError(
            f"{folder}: another run{holder} is writing into this folder; wait until it ends, or give "
            "another --out"
        ) from error
    except OSError as error:
        LOG.warning("%s cannot be locked (%s): start no second run on it", folder, error.strerror)


def _holder(status: os.stat_result) -> str:
    """Return " (process N)", from the system's list of locks, where it has one."""
    device = f"{os.major(status.st_dev):02x}:{os.minor(status.st_dev):02x}:{status.st_ino}"
    with suppress(OSError):
        for line in Path("/proc/locks").read_text().splitlines():
            fields = line.split()
            if fields[1:2] == ["FLOCK"] and fields[5] == device:
                return f" (process {fields[4]})"
    return ""


@contextmanager
def locked(folder: Path) -> Iterator[FolderLock]:
    """Hold a run folder for this process, making it first if need be; an empty one goes again.

    Raises:
        UserError: another run holds it.
    """
    new = not folder.exists()
    with FolderLock() as lock:
        lock.extend(folder)
        with cleanup(lambda: _remove_empty(folder) if new else None):
            yield lock


def _remove_empty(folder: Path) -> None:
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
