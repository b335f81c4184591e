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
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from curate.core.errors import UserError
from curate.core.localfiles import changed, file_fault, read_text
from curate.core.remotefaults import remote_fault
from curate.pool.datafiles import are_exported, is_export_file, repeated_lines
from curate.pool.folders import Folder, is_housekeeping, log_left_out, walk
from curate.pool.globs import MAGIC, glob_depth, glob_matcher, split_glob
from curate.pool.hublayout import (
    CARD,
    choose_named,
    choose_split,
    mixed_splits,
    refuse_config,
)
from curate.pool.remote import is_remote_folder, list_remote
from curate.pool.remotecopies import open_copy

LOG = logging.getLogger("curate")
FORMS = (".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".ipc", ".csv", ".tsv")
PACKED = (".gz", ".zst", ".zstd", ".bz2", ".xz", ".zip")
LOCAL = "file://"
BLOCK = 2**20
URL = re.compile(r"[A-Za-z][\w+.-]*(://|::)")
COMMIT = re.compile(r"[0-9a-f]{40}")
HUB_NAME = re.compile(r"(?P<repo>[\w-][\w.-]*/[\w-][\w.-]*)")


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


def find_files(path: str, split: str | None = None, config: str | None = None) -> list[PoolFile]:
    """Return the files that a path, glob or folder names, sorted by name.

    Any fsspec URL works. Names are relative to the part of the path without wildcards. What is in a
    folder or matches a glob and is no regular file, or no data, is left out, and named in the log.

    Args:
        path: the path, glob or URL.
        split: the split to read, where the folder or the file holds several.
        config: the configuration to read, where a folder's card names several.

    Raises:
        UserError: nothing was found there, the path itself leads to something else than files, or
            there are several splits and none is named.
    """
    if "\0" in path:
        raise UserError(f"the path {path!r:.200} holds a NUL character, which no file name can")
    if is_local(path):
        files = _find_local(path.removeprefix(LOCAL), split, config)
    else:
        files = _find_remote(path, split, config)
    if not files:
        raise UserError(_nothing_at(path))
    return sorted(files, key=lambda file: file.name)


def _nothing_at(path: str) -> str:
    """Return what to say where nothing was found."""
    sought = "file matches" if MAGIC.search(path) else "file or folder is at"
    hint = "check the address"
    if is_local(path):
        hint = "paths are relative to the folder that curate is started in"
    if HUB_NAME.fullmatch(path):
        hint += f"; a data set of the Hugging Face Hub is hf://datasets/{path}"
    return (
        f"no {sought} {path!r:.200} (looked for {', '.join(FORMS)} under folders, plain or packed as "
        f"{', '.join(PACKED)}); {hint}"
    )


def is_folder(path: str) -> bool:
    """Return whether a path or URL leads to a folder."""
    if is_local(path):
        return os.path.isdir(os.path.expanduser(path.removeprefix(LOCAL)))  # noqa: PTH111, PTH112
    return is_remote_folder(path)


def is_local(path: str) -> bool:
    """Return whether a path is one of this machine, and no URL."""
    if path.startswith(LOCAL) or not URL.match(path):
        return True
    # Two colons may also stand in the name of a folder.
    return os.path.lexists(path if "://" in path else path.split("/")[0])


def _find_local(path: str, split: str | None, config: str | None) -> list[PoolFile]:
    at_home = path.startswith("~") and not os.path.lexists(path.split("/")[0])
    root = str(Path(os.path.expanduser(path) if at_home else path).absolute())  # noqa: PTH111
    folder = os.path.isdir(root)  # noqa: PTH112
    if os.path.lexists(root) and not folder:
        fault = file_fault(root)
        if fault:
            raise UserError(f"{path} {fault}; give a file, a folder or a glob of files")
        refuse_config(path, config)
        return [PoolFile(LOCAL + root, Path(root).name, split=split)]
    base, pattern = (root, "") if folder else split_glob(root, os.path.lexists)
    base = base.rstrip("/") + "/"
    with reading(path):
        names = sorted(walk(base, glob_depth(pattern)))
    if pattern:
        names = _without_housekeeping(path, filter(glob_matcher(pattern, path), names), config)
    else:
        texts = Folder(
            base, names, lambda name: read_text(Path(base, name), "a file of a data set")
        )
        names, split = _choose(texts, split, config)
    files = [PoolFile(LOCAL + base + name, name, split=split) for name in names]
    return [file for file in files if _is_regular(base + file.name)]


def _find_remote(path: str, split: str | None, config: str | None) -> list[PoolFile]:
    place = list_remote(path)
    if place.alone:
        refuse_config(path, config)
        names: Iterable[str] = place.names
    elif place.pattern:
        names = _without_housekeeping(path, place.names, config)
    else:
        names, split = _choose(Folder(place.base, place.names, place.read), split, config)
    return [PoolFile(place.url(name), place.label(name), split=split) for name in names]


def _without_housekeeping(path: str, names: Iterable[str], config: str | None) -> list[str]:
    """Return the names that a glob matches, without what is no data."""
    refuse_config(path, config)
    matches = list(names)
    log_left_out(path, list(filter(is_housekeeping, matches)), "no data by their names")
    return [name for name in matches if not is_housekeeping(name)]


def _choose(folder: Folder, split: str | None, config: str | None) -> tuple[list[str], str | None]:
    """Return which of a folder's files to read, and the split that they must still be read by."""
    read = list(filter(is_read, folder.names))
    chosen = choose_split(folder, is_read, split, config)
    others = sorted(set(folder.names) - {CARD, *(chosen or read)})
    if chosen is not None and are_exported(chosen):
        LOG.info(
            "%s: an export of curate; the same rows in other formats are not read", folder.place
        )
        others = [name for name in others if not is_export_file(name)]
    log_left_out(folder.place, [n for n in others if n not in read], "no data by their names")
    if chosen is not None:
        unnamed = [name for name in others if name in read]
        log_left_out(folder.place, unnamed, "not among the files that the data set names")
        return chosen, None
    twins = repeated_lines(read)
    log_left_out(folder.place, twins, "the same rows as in the Parquet files beside them")
    read = [name for name in read if name not in twins]
    by_name = choose_named(read, split) if split else []
    if not split and (splits := mixed_splits(read)):
        LOG.warning(
            "%s: files of the splits %s are read together; `split: train` reads those of one",
            folder.place,
            ", ".join(splits),
        )
    return (by_name, None) if by_name else (read, split)


def _is_regular(path: str) -> bool:
    """Return whether a file that was met in a folder can be read; say so if it is none."""
    fault = file_fault(path)
    if fault:
        LOG.warning("%s %s: left out", path, fault)
    return fault is None


def digest_url(file: PoolFile) -> str:
    """Return 32 hex digits that identify the file's bytes.

    Raises:
        UserError: the file cannot be read.
    """
    with reading(file.url), _open(file.url) as raw:
        return HashedReader(raw).drain()


def new_digest() -> hashlib.blake2b:
    """Return the hash by which the bytes of files are known, of none yet."""
    return hashlib.blake2b(digest_size=16)


def _open(url: str) -> IO[bytes]:
    """Open a file by its literal path: nothing in it is a pattern."""
    if url.startswith(LOCAL):
        return Path(url.removeprefix(LOCAL)).open("rb")
    return open_copy(url)


@contextmanager
def reading(place: str) -> Iterator[None]:
    """Turn what the machine refuses while a file is read into one sentence."""
    try:
        yield
    except Exception as error:
        if not is_local(place) and (fault := remote_fault(error, place)):
            raise fault from error
        if not isinstance(error, OSError):
            raise
        where = error.filename if isinstance(error.filename, str) else place
        raise UserError(f"{where}: cannot be read ({error.strerror or error})") from error


class HashedReader(io.RawIOBase):
    """A file that digests its bytes while they are read.

    Args:
        raw: the file, at its start.
        start: of the bytes that are read.
        size: how many they are at most; all that follow if None.
        digests: whether it does; if not, it has no use for `drain`.
    """

    def __init__(
        self, raw: IO[bytes], start: int = 0, size: int | None = None, *, digests: bool = True
    ) -> None:
        self._raw, self._hash, self._anywhere = raw, new_digest(), False
        self._digests, self._start, self._size = digests, start, size
        self._rewind()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes and digest them."""
        view = memoryview(buffer)[: self._left]
        count: int = self._raw.readinto(view) or 0  # type: ignore[attr-defined]
        if self._digests:
            self._hash.update(view[:count])
        if self._left is not None:
            self._left -= count
        return count

    def leave(self) -> IO[bytes]:
        """Return the file itself, to be read in any order; the bytes are digested by `drain` alone."""
        self._anywhere = True
        self._raw.seek(0)
        return self._raw

    def drain(self) -> str:
        """Read what is left, and return the digest of all the bytes."""
        if self._anywhere:
            self._rewind()
            self._hash = new_digest()
        buffer = bytearray(BLOCK)
        while self.readinto(buffer):
            pass
        return self._hash.hexdigest()

    def _rewind(self) -> None:
        if self._start or self._anywhere:
            self._raw.seek(self._start)
        self._left = self._size


@contextmanager
def open_checked(
    file: PoolFile, start: int = 0, size: int | None = None
) -> Iterator["io.BufferedReader[Any]"]:
    """Open a file for one reading, at whose end its bytes must have the digest it was found with.

    Args:
        file: its digest is that of the bytes that are read.
        start: of these bytes.
        size: how many; all that follow if None.

    Raises:
        UserError: the file cannot be read, or is not what it was.
    """
    checked = file.digest is not None and not file.pinned
    with reading(file.url), _open(file.url) as raw:
        hashed = HashedReader(raw, start, size, digests=checked)
        stream = io.BufferedReader(hashed, BLOCK)
        fault: UserError | None = None
        try:
            yield stream
        except UserError as error:
            # A file that is being written to looks broken: that it changed is the better reason.
            fault = error
        if checked and hashed.drain() != file.digest:
            raise changed(file.url) from fault
        if fault:
            raise fault


def read_anywhere(stream: "io.BufferedReader[Any]") -> IO[bytes]:
    """Return the file under a stream of open_checked's, for readers that go back and forth in it.

    The bytes that have a digest are read once more when they are done.
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
