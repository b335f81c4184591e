"""Copies of remote files on this machine, for what reads the same files several times.

`curate check` takes a digest of a file, shows what it is read as, and counts its rows: three readings
and more, of which the first alone comes over the network.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO

from curate.core.scratch import SETTING, temporary_folder
from curate.core.writable import written_below
from curate.pool.remote import open_remote

# Of all copies together; files that do not fit are read from where they are.
MOST_BYTES = 4 * 2**30
BLOCK = 2**20


class RemoteCopies:
    """A folder with copies of remote files, by their addresses."""

    def __init__(self, folder: Path, most_bytes: int) -> None:
        self._folder, self._free_bytes = folder, most_bytes
        self._paths: dict[str, Path] = {}

    def open(self, url: str) -> IO[bytes]:
        """Open the copy of a file, which is fetched first; the file itself if there is no room."""
        if url not in self._paths:
            source = open_remote(url)
            size = source.seek(0, os.SEEK_END)
            source.seek(0)
            if size > self._free_bytes:
                return source
            with source:
                self._fetch(url, source)
            self._free_bytes -= size
        return self._paths[url].open("rb")

    def _fetch(self, url: str, source: IO[bytes]) -> None:
        path = self._folder / str(len(self._paths))
        with written_below(self._folder, SETTING), path.open("wb") as copy:
            shutil.copyfileobj(source, copy, BLOCK)
        self._paths[url] = path


COPIES: ContextVar[RemoteCopies | None] = ContextVar("copies", default=None)


@contextmanager
def remote_copies(most_bytes: int = MOST_BYTES) -> Iterator[None]:
    """Fetch each remote file once within this context; the copies go at its end."""
    with temporary_folder() as folder:
        token = COPIES.set(RemoteCopies(folder, most_bytes))
        try:
            yield
        finally:
            COPIES.reset(token)


def open_copy(url: str) -> IO[bytes]:
    """Open a remote file: its copy within `remote_copies`, and the file itself elsewhere."""
    copies = COPIES.get()
    return open_remote(url) if copies is None else copies.open(url)
