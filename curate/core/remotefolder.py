"""A folder behind a URL, in a bucket mostly, that is read and written.

A request that fails for a moment is sent again; what fails for good is one sentence.
"""

import errno
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from curate.core.azurelogin import check_login
from curate.core.errors import UserError
from curate.core.faults import causes, one_line
from curate.core.lazy import lazy_module
from curate.core.remotefaults import remote_fault
from curate.core.store import LOG

if TYPE_CHECKING:
    import fsspec
else:
    fsspec = lazy_module("fsspec")

T = TypeVar("T")
# Seconds before a request that failed is sent again.
PAUSES = (0.5, 2.0, 8.0)
ANSWERS = (FileNotFoundError, FileExistsError)
OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
FINAL = (PermissionError, ImportError, ValueError, TypeError, NotImplementedError)
TAKEN = re.compile(r"PreconditionFailed|ConditionalRequestConflict|pre-?conditions?\b", re.I)
NO_BUCKET = re.compile(r"(bucket|container) does not exist|NoSuchBucket|ContainerNotFound", re.I)


@dataclass(frozen=True)
class RemoteFile:
    """What is told of a file: its bytes, and when it was last put."""

    bytes: int
    changed: float


@dataclass(frozen=True)
class RemoteFolder:
    """A folder behind a URL that fsspec has a driver for.

    Every method raises a UserError where the place refuses, fails for good or is not there.
    """

    url: str

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a file, None if there is none."""
        data: bytes | None = None
        with suppress(FileNotFoundError):
            data = self._ask(lambda fs, root: fs.cat_file(f"{root}/{path}"))
        return data

    def get(self, paths: Sequence[str], local: Sequence[Path]) -> None:
        """Copy files to this machine; those that are missing are left out."""
        places = [str(path) for path in local]
        with suppress(FileNotFoundError):
            self._ask(lambda fs, root: fs.get([f"{root}/{path}" for path in paths], places))

    def put(self, local: Sequence[Path], paths: Sequence[str]) -> None:
        """Copy files of this machine there."""
        places = [str(path) for path in local]
        self._ask(lambda fs, root: fs.put(places, [f"{root}/{path}" for path in paths]))

    def write(self, path: str, data: bytes) -> None:
        """Write a file, in place of the one that is there."""
        self._ask(lambda fs, root: fs.pipe_file(f"{root}/{path}", data))

    def create(self, path: str, data: bytes) -> bool:
        """Write a file if there is none of its name; return whether there was none.

        S3, Google and Azure decide that themselves, between machines that ask at once.
        """
        try:
            self._ask(lambda fs, root: fs.pipe_file(f"{root}/{path}", data, mode="create"))
        except FileExistsError:
            return False
        return True

    def remove(self, path: str, *, recursive: bool = False) -> None:
        """Remove a file or, with all below it, a folder."""
        with suppress(FileNotFoundError):
            self._ask(lambda fs, root: fs.rm(f"{root}/{path}", recursive=recursive))

    def files(self) -> dict[str, RemoteFile]:
        """Return all files below the folder, by their paths in it."""
        return self._ask(_list_files)

    def _ask(self, request: Callable[[Any, str], T]) -> T:
        """Return what a request comes to, of a file system and the folder's path in it.

        Raises:
            UserError: it fails for good.
            FileNotFoundError: the file is not there.
            FileExistsError: it is there already.
        """
        for pause in (*PAUSES, None):
            try:
                filesystem, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
                check_login(filesystem)
                return request(filesystem, root.rstrip("/"))
            except Exception as error:
                self._raise_answer(error)
                if pause is None or _is_final(error):
                    fault = remote_fault(error, self.url, "used as a store")
                    fault = fault or UserError(f"{self.url}: {one_line(error, 200)}")
                    raise UserError(f"store: {fault}") from error
                LOG.info("%s: asked again in %g s (%s)", self.url, pause, one_line(error, 120))
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _raise_answer(self, error: Exception) -> None:
        """Raise what is an answer, or a fault of this machine's disk, and no fault of the place."""
        texts = [str(cause) for cause in causes(error)]
        if any(map(NO_BUCKET.search, texts)):
            raise UserError(
                f"store: {self.url}: there is no such bucket; make it, or check the address"
            ) from error
        if any(map(TAKEN.search, texts)):
            raise FileExistsError(self.url) from error
        own = isinstance(error, OSError) and error.errno in OF_THIS_MACHINE
        if own or isinstance(error, ANSWERS):
            raise error


def _is_final(error: Exception) -> bool:
    """Return whether an error stays, however often a request is sent: keys, rights, the address."""
    names = {type(cause).__name__ for cause in causes(error)}
    return isinstance(error, FINAL) or "NoCredentialsError" in names


def _list_files(filesystem: Any, root: str) -> dict[str, RemoteFile]:
    return {
        path.removeprefix(f"{root}/"): RemoteFile(info["size"], _changed_at(info))
        for path, info in filesystem.find(root, detail=True).items()
    }


def _changed_at(info: dict[str, Any]) -> float:
    """Return when a file was last put; now where its driver does not tell."""
    for name in ("LastModified", "last_modified", "updated", "mtime"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()
