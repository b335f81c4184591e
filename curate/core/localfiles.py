"""Files on this machine that a user names: regular ones alone, and small ones read whole."""

import hashlib
import os
import stat
from pathlib import Path

from curate.core.errors import UserError

MIB = 2**20
KINDS = (
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


def changed(place: str | Path) -> UserError:
    """Return the fault of a file that is not what it was when its digest was taken."""
    return UserError(
        f"{place}: the file changed while it was being read; run again when nothing writes to it"
    )


def kind_fault(mode: int) -> str | None:
    """Return what a file of this mode is, e.g. "a device"; None if it is a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in KINDS if test(mode)), "no regular file")


def file_fault(path: str | Path) -> str | None:
    """Return why a path leads to no regular file, as what follows it in a sentence; None if it does."""
    try:
        kind = kind_fault(Path(path).stat().st_mode)
    except OSError as error:
        dangling = isinstance(error, FileNotFoundError) and os.path.lexists(path)
        return "is a link to nothing" if dangling else f"cannot be read ({error.strerror})"
    return None if kind is None else f"is {kind}"


def digest_bytes(data: bytes) -> str:
    """Return 32 hex digits that identify these bytes."""
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def read_small(
    path: Path, what: str, *, most: int = 64 * MIB, digest: str | None = None, pipe: bool = False
) -> bytes:
    """Return the bytes of a file.

    Args:
        path: where it is.
        what: what it is to the user, e.g. "the word list".
        most: bytes that it may have.
        digest: that its bytes must have, as digest_bytes gives it.
        pipe: it is read only once, so that a pipe will do as well.

    Raises:
        UserError: it is not there, no file, too large, has changed or cannot be read.
    """
    try:
        # A pipe that nobody writes to is empty, where opening it otherwise would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with open(descriptor, "rb") as file:  # noqa: PTH123
            mode = os.fstat(descriptor).st_mode
            kind = kind_fault(mode)
            if kind and not (pipe and stat.S_ISFIFO(mode)):
                raise UserError(f"{path}: {what} cannot be read (it is {kind})")
            os.set_blocking(descriptor, True)
            data = file.read(most + 1)
    except (OSError, ValueError) as error:
        # A ValueError: the path holds a NUL.
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: {what} cannot be read ({why})") from error
    if len(data) > most:
        raise UserError(f"{path}: {what} is larger than {most // MIB} MiB, which is not read")
    if digest is not None and digest_bytes(data) != digest:
        raise changed(path)
    return data


def read_text(
    path: Path, what: str, *, most: int = 64 * MIB, digest: str | None = None, pipe: bool = False
) -> str:
    r"""Return the text of a UTF-8 file as read_small does: no byte order mark, lines end in \n.

    Raises:
        UserError: as read_small, or it is not UTF-8.
    """
    data = read_small(path, what, most=most, digest=digest, pipe=pipe)
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: {what} is not UTF-8 (byte {error.start})") from error
