"""Zip archives: the files in them, one after another."""

import io
import logging
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from curate.core.errors import UserError

LOG = logging.getLogger("curate")
BLOCK = 2**20
ENCRYPTED = 0x1


def read_archive(
    place: str, handle: IO[bytes], is_read: Callable[[str], bool]
) -> Iterator[tuple[str, "io.BufferedReader[Any]"]]:
    """Yield the name and bytes of each file in a zip archive, in its order.

    Args:
        place: what the archive is called in errors.
        handle: the archive, where any place can be read.
        is_read: whether a file of this name is one of records; the others are named in the log. The
            only file of an archive is read whatever its name.

    Raises:
        UserError: it is damaged, holds no such file, or needs a password.
    """
    with _faults(place), zipfile.ZipFile(handle) as archive:
        for info in _members(place, archive, is_read):
            with archive.open(info) as member:
                yield info.filename, io.BufferedReader(MemberReader(place, member), BLOCK)


class MemberReader(io.RawIOBase):
    """A file within an archive, whose damage is told where it is read."""

    def __init__(self, place: str, member: IO[bytes]) -> None:
        self._place, self._member = place, member

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes; none at the end.

        Raises:
            UserError: they are damaged.
        """
        with _faults(self._place):
            count: int = self._member.readinto(buffer)  # type: ignore[attr-defined]
            return count


def _members(
    place: str, archive: zipfile.ZipFile, is_read: Callable[[str], bool]
) -> list[zipfile.ZipInfo]:
    """Return the files of an archive that hold records."""
    files = [info for info in archive.infolist() if not info.is_dir()]
    names = [info.filename for info in files]
    if "[Content_Types].xml" in names:
        raise UserError(f"{place}: the file is an Office document; save the sheet as CSV")
    read = [info for info in files if is_read(info.filename)]
    read = files if len(files) == 1 else read
    for info in read:
        if info.flag_bits & ENCRYPTED:
            raise UserError(f"{place}: {info.filename} in it needs a password; unpack the archive")
    if not read:
        raise UserError(f"{place}: the zip archive holds no file of records: {_listed(names)}")
    twice = [name for name, times in Counter(i.filename for i in read).items() if times > 1]
    if twice:
        raise UserError(f"{place}: the zip archive holds two files {twice[0]!r}; unpack it")
    left_out = [name for name in names if name not in {info.filename for info in read}]
    if left_out:
        LOG.warning("%s: left out: %s", place, _listed(left_out))
    return read


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - 5:,} more" if len(names) > 5 else ""
    return (", ".join(names[:5]) + more) or "it is empty"


@contextmanager
def _faults(place: str) -> Iterator[None]:
    """Turn what is wrong with an archive into a sentence."""
    try:
        yield
    except NotImplementedError as error:
        raise UserError(f"{place}: the zip archive cannot be read ({error}); unpack it") from error
    except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError) as error:
        raise UserError(f"{place}: the zip archive is damaged or cut off ({error})") from error
