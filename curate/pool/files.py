"""Find pool files by path, folder, glob or URL, and open them.

data/pool           a folder: the files of records in it, at any depth
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
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import fsspec
from fsspec.utils import glob_translate

from curate.core.errors import UserError
from curate.core.localfiles import changed, file_fault
from curate.pool.folders import is_housekeeping, log_left_out, walk
from curate.pool.hublayout import CARD, choose_named, choose_split

LOG = logging.getLogger("curate")
FORMS = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".ipc", ".csv", ".tsv")
PACKED = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
LOCAL = "file://"
BLOCK = 2**20
URL = re.compile(r"[A-Za-z][\w+.-]*(://|::)")
MAGIC = re.compile(r"[*?\[]")
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w-][\w.-]*")


@dataclass(frozen=True)
class PoolFile:
    """A file of a pool entry: where it is, the name that row ids carry, and the digest it must have.

    digest: of its bytes; of a file of the hub the commit, which stands for them.
    split: the split to read of the several that the file itself must hold.
    """

    url: str
    name: str
    digest: str | None = None
    split: str | None = None

    @property
    def pinned(self) -> bool:
        """Return whether a commit stands for its bytes."""
        return self.digest is not None and COMMIT.fullmatch(self.digest) is not None


def is_read(name: str) -> bool:
    """Return whether a file of this name is read where a folder or archive holds it."""
    plain = name.lower()
    stem = next((plain.removesuffix(end) for end in PACKED if plain.endswith(end)), plain)
    return not is_housekeeping(name) and (stem.endswith(FORMS) or plain.endswith(".zip"))


def find_files(path: str, split: str | None = None) -> list[PoolFile]:
    """Return the files that a path, glob or folder names, sorted by name.

    Any fsspec URL works. Names are relative to the part of the path without wildcards. What is in a
    folder or matches a glob and is no regular file, or no data, is left out, and named in the log.

    Args:
        path: the path, glob or URL.
        split: the split to read, where the folder or the file holds several.

    Raises:
        UserError: nothing was found there, the path itself leads to something else than files, or
            there are several splits and none is named.
    """
    if "\0" in path:
        raise UserError(f"the path {path!r:.200} holds a NUL character, which no file name can")
    if _is_local(path):
        files = _find_local(path.removeprefix(LOCAL), split)
    else:
        with _remote(path):
            files = [replace(file, split=split) for file in _find_remote(path)]
    if not files:
        raise UserError(_nothing_at(path))
    return sorted(files, key=lambda file: file.name)


def _nothing_at(path: str) -> str:
    """Return what to say where nothing was found."""
    if HUB_NAME.fullmatch(path) and not Path(path).parent.is_dir():
        return (
            f"no file or folder is at {path!r}; if it is a data set of the Hugging Face Hub, fetch it "
            f"first (hf download {path} --repo-type dataset --local-dir NAME) and give that folder"
        )
    sought = "file matches" if MAGIC.search(path) else "file or folder is at"
    return (
        f"no {sought} {path!r:.200} (looked for {', '.join(FORMS)} under folders, plain or packed as "
        f"{', '.join(PACKED)}); paths are relative to the folder that curate is started in"
    )


def is_folder(path: str) -> bool:
    """Return whether a path or URL leads to a folder."""
    if _is_local(path):
        return os.path.isdir(os.path.expanduser(path.removeprefix(LOCAL)))  # noqa: PTH111, PTH112
    with _remote(path):
        filesystem, root = fsspec.core.url_to_fs(path)
        return bool(filesystem.isdir(root))


def _is_local(path: str) -> bool:
    if path.startswith(LOCAL) or not URL.match(path):
        return True
    # Two colons may also stand in the name of a folder.
    return os.path.lexists(path if "://" in path else path.split("/")[0])


def _find_local(path: str, split: str | None) -> list[PoolFile]:
    at_home = path.startswith("~") and not os.path.lexists(path.split("/")[0])
    root = str(Path(os.path.expanduser(path) if at_home else path).absolute())  # noqa: PTH111
    folder = os.path.isdir(root)  # noqa: PTH112
    if os.path.lexists(root) and not folder:
        fault = file_fault(root)
        if fault:
            raise UserError(f"{path} {fault}; give a file, a folder or a glob of files")
        return [PoolFile(LOCAL + root, Path(root).name, split=split)]
    base, pattern = (root, "") if folder else _split_glob(root, os.path.lexists)
    base = base.rstrip("/") + "/"
    with reading(path):
        names = sorted(walk(base, _depth(pattern)))
    if pattern:
        names = list(filter(_matcher(pattern, path), names))
        log_left_out(path, list(filter(is_housekeeping, names)), "no data by their names")
        names = [name for name in names if not is_housekeeping(name)]
    else:
        names, split = _choose(base, names, split)
    files = [PoolFile(LOCAL + base + name, name, split=split) for name in names]
    return [file for file in files if _is_regular(base + file.name)]


def _choose(base: str, names: list[str], split: str | None) -> tuple[list[str], str | None]:
    """Return which of a folder's files to read, and the split that they must still be read by."""
    read = list(filter(is_read, names))
    chosen = choose_split(base, names, is_read, split)
    others = sorted(set(names) - {*read, CARD})
    log_left_out(base, others, "no data by their names")
    if chosen is not None:
        others = sorted(set(read) - set(chosen))
        log_left_out(base, others, "not among the files that the data set names")
        return chosen, None
    by_name = choose_named(base, read, split) if split else []
    return (by_name, None) if by_name else (read, split)


def _is_regular(path: str) -> bool:
    """Return whether a file that was met in a folder can be read; say so if it is none."""
    fault = file_fault(path)
    if fault:
        LOG.warning("%s %s: left out", path, fault)
    return fault is None


def _find_remote(path: str) -> list[PoolFile]:
    filesystem, root = fsspec.core.url_to_fs(path)
    if filesystem.isdir(root):
        base = root.rstrip("/") + "/"
        paths = [p for p in filesystem.find(root) if is_read(p.removeprefix(base))]
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


@contextmanager
def _remote(path: str) -> Iterator[None]:
    """Turn what a driver says of a place elsewhere into one sentence."""
    try:
        yield
    except UserError:
        raise
    except ImportError as error:
        raise UserError(
            f"{path}: a package is missing for this kind of address: {error}"
        ) from error
    except Exception as error:
        why = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise UserError(
            f"{path}: cannot be reached ({why}); check the address, the network and, where it needs "
            "some, your credentials"
        ) from error


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


def _digest() -> hashlib.blake2b:
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
        self._raw, self._hash, self._anywhere = raw, _digest(), False

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes and digest them."""
        count: int = self._raw.readinto(buffer) or 0  # type: ignore[attr-defined]
        self._hash.update(memoryview(buffer)[:count])
        return count

    def leave(self) -> IO[bytes]:
        """Return the file itself, to be read in any order; its bytes are digested by `drain` alone."""
        self._anywhere = True
        self._raw.seek(0)
        return self._raw

    def drain(self) -> str:
        """Read what is left, and return the digest of all bytes."""
        if self._anywhere:
            self._raw.seek(0)
            self._hash = _digest()
        while self.read(BLOCK):
            pass
        return self._hash.hexdigest()


@contextmanager
def open_checked(file: PoolFile) -> Iterator["io.BufferedReader[Any]"]:
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
        if file.digest and not file.pinned and hashed.drain() != file.digest:
            raise changed(file.url) from fault
        if fault:
            raise fault


def read_anywhere(stream: "io.BufferedReader[Any]") -> IO[bytes]:
    """Return the file under a stream of open_checked's, for readers that go back and forth in it.

    It is digested as a whole when they are done.
    """
    hashed = stream.raw
    assert isinstance(hashed, HashedReader), "a stream of open_checked's"
    return hashed.leave()


def read_head(file: PoolFile, size: int) -> bytes:
    """Return the first bytes of a file.

    Raises:
        UserError: it cannot be read.
    """
    with reading(file.url), _open(file.url) as raw:
        return raw.read(size)
