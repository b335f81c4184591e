"""Find pool files by path, folder, glob or URL, and open them.

data/pool           a folder: the JSON files in it, at any depth
data/pool/*.gz      a glob
data/rows[1].jsonl  this file if there is one, and a glob only if there is none

A path on this machine leads to regular files alone: reading a pipe or a device could wait or go on for
ever, and a second reader would see something else.
"""

import hashlib
import io
import logging
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.utils import glob_translate

from curate.errors import UserError
from curate.localfiles import changed, file_fault

LOG = logging.getLogger("curate")
SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
LOCAL = "file://"
BLOCK = 2**20
URL = re.compile(r"[A-Za-z][\w+.-]*(://|::)")
MAGIC = re.compile(r"[*?\[]")


@dataclass(frozen=True)
class PoolFile:
    """A file of a pool entry: where it is, the name that row ids carry, and the digest it must have."""

    url: str
    name: str
    digest: str | None = None


def find_files(path: str) -> list[PoolFile]:
    """Return the files that a path, glob or folder names, sorted by name.

    Any fsspec URL works. Names are relative to the part of the path without wildcards. What is in a
    folder or matches a glob and is no regular file is left out, and named in the log.

    Raises:
        UserError: nothing was found there, or the path itself leads to something else than files.
    """
    if "\0" in path:
        raise UserError(f"the path {path!r:.200} holds a NUL character, which no file name can")
    files = _find_local(path.removeprefix(LOCAL)) if _is_local(path) else _find_remote(path)
    if not files:
        sought = "file matches" if MAGIC.search(path) else "file or folder is at"
        raise UserError(
            f"no {sought} {path!r:.200} (looked for {', '.join(SUFFIXES)} under folders); "
            "paths are relative to the folder that curate is started in"
        )
    return sorted(files, key=lambda file: file.name)


def is_folder(path: str) -> bool:
    """Return whether a path or URL leads to a folder."""
    if _is_local(path):
        return os.path.isdir(os.path.expanduser(path.removeprefix(LOCAL)))  # noqa: PTH111, PTH112
    filesystem, root = fsspec.core.url_to_fs(path)
    return bool(filesystem.isdir(root))


def _is_local(path: str) -> bool:
    if path.startswith(LOCAL) or not URL.match(path):
        return True
    # Two colons may also stand in the name of a folder.
    return os.path.lexists(path if "://" in path else path.split("/")[0])


def _find_local(path: str) -> list[PoolFile]:
    at_home = path.startswith("~") and not os.path.lexists(path.split("/")[0])
    root = str(Path(os.path.expanduser(path) if at_home else path).absolute())  # noqa: PTH111
    folder = os.path.isdir(root)  # noqa: PTH112
    if os.path.lexists(root) and not folder:
        fault = file_fault(root)
        if fault:
            raise UserError(f"{path} {fault}; give a file, a folder or a glob of files")
        return [PoolFile(LOCAL + root, Path(root).name)]
    base, pattern = (root, "") if folder else _split_glob(root, os.path.lexists)
    base = base.rstrip("/") + "/"
    fits = _matcher(pattern, path) if pattern else _has_suffix
    with reading(path):
        names = [name for name in _walk(base, _depth(pattern)) if fits(name)]
    return [PoolFile(LOCAL + base + name, name) for name in names if _is_read(base + name)]


def _walk(base: str, depth: int | None) -> Iterator[str]:
    """Yield what is in a folder and is no folder, by the name within it; links lead to no folder."""

    def fail(error: OSError) -> None:
        raise error

    if not os.path.isdir(base):  # noqa: PTH112
        return
    for folder, inner, names in os.walk(base, onerror=fail):
        place = folder.removeprefix(base).strip("/")
        for name in names:
            yield f"{place}/{name}".lstrip("/")
        level = place.count("/") + 2 if place else 1
        if depth is not None and level >= depth:
            inner.clear()
        for name in inner:
            if Path(folder, name).is_symlink():
                LOG.warning("%s is a link to a folder: not followed", Path(folder, name))


def _is_read(path: str) -> bool:
    """Return whether a file that was met in a folder can be read; say so if it is none."""
    fault = file_fault(path)
    if fault:
        LOG.warning("%s %s: left out", path, fault)
    return fault is None


def _find_remote(path: str) -> list[PoolFile]:
    filesystem, root = fsspec.core.url_to_fs(path)
    if filesystem.isdir(root):
        base = root.rstrip("/") + "/"
        paths = [p for p in filesystem.find(root) if _has_suffix(p)]
    elif filesystem.isfile(root):
        base, paths = root[: root.rfind("/") + 1], [root]
    else:
        base, pattern = _split_glob(root, filesystem.exists)
        fits = _matcher(pattern, path)
        paths = filesystem.find(base, maxdepth=_depth(pattern)) if pattern else []
        paths = [p for p in paths if fits(p.removeprefix(base))]
    _, *chained = path.split("::")
    return [
        PoolFile("::".join([filesystem.unstrip_protocol(p), *chained]), p.removeprefix(base))
        for p in paths
    ]


def _has_suffix(name: str) -> Any:
    return name.endswith(SUFFIXES)


def _split_glob(root: str, exists: Callable[[str], bool]) -> tuple[str, str]:
    """Return the folder that a glob starts from and its pattern; a part that exists is no pattern."""
    parts = root.split("/")
    for i, part in enumerate(parts):
        if MAGIC.search(part) and not exists("/".join(parts[: i + 1])):
            return "/".join([*parts[:i], ""]), "/".join(parts[i:])
    return root, ""


def _depth(pattern: str) -> int | None:
    """Return how many levels a pattern spans; None if there is no pattern, or it spans any number."""
    return None if not pattern or "**" in pattern else pattern.count("/") + 1


def _matcher(pattern: str, path: str) -> Callable[[str], Any]:
    try:
        return re.compile(glob_translate(pattern)).match
    except (ValueError, re.error) as error:
        raise UserError(f"{path!r} is no glob: {error}") from error


def digest_url(file: PoolFile) -> str:
    """Return 32 hex digits that identify the file's bytes.

    Raises:
        UserError: the file cannot be read.
    """
    with reading(file.url), _open(file.url) as raw:
        return HashedReader(raw).drain()


def _digest() -> "hashlib.blake2b":
    return hashlib.blake2b(digest_size=16)


def _open(url: str) -> IO[bytes]:
    """Open a file by its literal path: nothing in it is a pattern."""
    if url.startswith(LOCAL):
        return Path(url.removeprefix(LOCAL)).open("rb")
    filesystem, path = fsspec.core.url_to_fs(url)
    handle: IO[bytes] = filesystem.open(path, "rb")
    return handle


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn what the machine refuses while a file is read into one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename if isinstance(error.filename, str) else place
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from error


class HashedReader(io.RawIOBase):
    """A file that digests its bytes while they are read."""

    def __init__(self, raw: IO[bytes]) -> None:
        self._raw, self._hash = raw, _digest()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes and digest them."""
        count: int = self._raw.readinto(buffer) or 0  # type: ignore[attr-defined]
        self._hash.update(memoryview(buffer)[:count])
        return count

    def drain(self) -> str:
        """Read what is left, and return the digest of all bytes."""
        while self.read(BLOCK):
            pass
        return self._hash.hexdigest()


@contextmanager
def open_checked(file: PoolFile) -> Iterator[IO[bytes]]:
    """Open a file for one reading, at whose end its bytes must have the digest it was found with.

    Raises:
        UserError: the file cannot be read, or is not what it was.
    """
    with reading(file.url), _open(file.url) as raw:
        hashed = HashedReader(raw)
        stream = io.BufferedReader(hashed, BLOCK)
        fault: UserError | None = None
        try:
            yield stream
        except UserError as error:
            # A file that is being written to looks broken: that it changed is the better reason.
            fault = error
        if file.digest is not None and hashed.drain() != file.digest:
            raise changed(file.url) from fault
        if fault:
            raise fault


def read_head(file: PoolFile, size: int) -> bytes:
    """Return the first bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    with reading(file.url), _open(file.url) as raw:
        return raw.read(size)
