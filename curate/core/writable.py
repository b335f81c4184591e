"""Folders that curate writes to by itself: a fault of one tells the setting that names another."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from curate.core.errors import UserError
from curate.core.faults import explain_disk


def make_folder(folder: Path, setting: str) -> Path:
    """Make a folder, and those above it.

    Args:
        folder: where it is to be.
        setting: what names it, as a clause.

    Raises:
        UserError: there can be no such folder.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder} cannot be a folder ({error.strerror}); {setting}") from error
    return folder


@contextmanager
def written_below(folder: Path, setting: str, name: Path | None = None) -> Iterator[None]:
    """Write below a folder.

    Args:
        folder: what is written to.
        setting: what names another one, as a clause.
        name: what a user calls the folder, where it is one that only stands in for it.

    Raises:
        UserError: it is read-only, another user's, or its disk is full.
    """
    try:
        yield
    except Exception as error:
        sentence = explain_disk(error, folder)
        if sentence is None:
            raise
        sentence = sentence.replace(str(folder), str(name or folder))
        raise UserError(f"{sentence}; {setting}") from error
