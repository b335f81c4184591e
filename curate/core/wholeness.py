"""Whether an artifact's files are as they were written: checked once by their digests, then recorded.

    STORE/verified/exact-0123456789abcdef      a digest of sizes, times and inodes of the checked files

A file whose size, inode, and times of its last write and change are those of its last check is not read
again, unless it is small. A file that is written, cut off, replaced or copied has others, whatever a
program makes of its time of writing. What no file system tells of, a bit that flips on the disk, is
looked for by `curate store verify`.
"""

import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypedDict

from curate.core.digests import digest_file, digest_of

SMALL_BYTES = 64 * 2**10
# Clocks of file systems tick some hundred times a second: a change within a tick does not show.
SETTLED_SECONDS = 2.0


class FileRecord(TypedDict):
    """What a manifest tells of a file: its size in bytes and the digest of its content."""

    bytes: int
    digest: str


def is_whole(folder: Path, files: Mapping[str, FileRecord], record: Path) -> bool:
    """Return whether every file is there with its recorded digest.

    Args:
        folder: of the artifact.
        files: bytes and digest by name, as its manifest has them.
        record: where the check is written down; a store that cannot be written has none.
    """
    now = time.time()
    try:
        stamp, last_change = _stamp(folder, files)
    except OSError:
        return False
    checked = _read(record) == stamp
    unread = {n: r for n, r in files.items() if not checked or r["bytes"] <= SMALL_BYTES}
    if damaged_files(folder, unread):
        return False
    if not checked and last_change < now - SETTLED_SECONDS:
        _write(record, stamp)
    return True


def damaged_files(folder: Path, files: Mapping[str, FileRecord]) -> list[str]:
    """Return the files that are not there, or not with their recorded digests; all are read."""
    return [name for name, recorded in files.items() if not _has_digest(folder / name, recorded)]


def _has_digest(path: Path, recorded: FileRecord) -> bool:
    try:
        if path.stat().st_size != recorded["bytes"]:
            return False
        return digest_file(path) == recorded["digest"]
    except OSError:
        return False


def _stamp(folder: Path, files: Mapping[str, FileRecord]) -> tuple[str, float]:
    """Return a digest of what the file system tells of the files, and when the last one changed."""
    stats = {name: (folder / name).stat() for name in files}
    stamp = digest_of(
        {
            name: [s.st_size, s.st_ino, s.st_mtime_ns, s.st_ctime_ns, files[name]["digest"]]
            for name, s in stats.items()
        }
    )
    return stamp, max((s.st_ctime for s in stats.values()), default=0.0)


def _read(record: Path) -> str:
    with suppress(OSError, UnicodeDecodeError):
        return record.read_text()
    return ""


def _write(record: Path, stamp: str) -> None:
    with suppress(OSError):
        record.parent.mkdir(exist_ok=True)
        record.write_text(stamp)
