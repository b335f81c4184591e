"""Prefect's database of past runs: one file that every run copies, works on, and puts back.

It holds nothing that the store does not, so a new one is begun where it is of no use. The old one then
stays beside it, as does that of the first of two runs at once; what was moved there before stays too.
"""

import logging
import shutil
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

from curate.core.cachefolder import SETTING, cache_root

LOG = logging.getLogger("curate")
DATABASE, ASIDE = "prefect.db", "prefect-old.db"
LARGEST_BYTES = 64 << 20
# What tells a file from one that has replaced it.
Stamp = tuple[int, int, int]


def prefect_folder() -> Path:
    """Return the folder of what Prefect keeps for curate."""
    return cache_root().resolve() / "prefect"


def history_stamp() -> Stamp | None:
    """Return what tells the database of past runs from a later one; None where there is none."""
    try:
        status = (prefect_folder() / DATABASE).stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_size


def copy_history(folder: Path) -> bool:
    """Copy the database of past runs into a folder, where there is a sound one; say whether.

    Raises:
        OSError: it cannot be read, or the copy not be written.
    """
    source, copy = prefect_folder() / DATABASE, folder / DATABASE
    if not source.exists():
        return False
    fault = _copy_sound(source, copy)
    if fault is None:
        return True
    copy.unlink(missing_ok=True)
    set_aside(fault)
    return False


def _copy_sound(source: Path, copy: Path) -> str | None:
    """Copy a database; return what is wrong with it, if anything is."""
    if not source.is_file():
        return "it is no file"
    if source.stat().st_size > LARGEST_BYTES:
        return f"it has more than {LARGEST_BYTES >> 20} MB"
    shutil.copyfile(source, copy)
    try:
        with closing(sqlite3.connect(copy)) as database:
            fault = str(database.execute("pragma integrity_check(1)").fetchone()[0])
    except sqlite3.Error as error:
        return str(error)
    return None if fault == "ok" else " ".join(fault.split())


def set_aside(reason: str) -> None:
    """Move the database of past runs out of the way of a new one, and tell of it; none is replaced."""
    source = prefect_folder() / DATABASE
    try:
        aside = _free_place(source)
        try:
            source.replace(aside)
        except OSError:
            _free(aside)
            raise
    except OSError as error:
        LOG.warning("Prefect's record of past runs, %s, cannot be moved: %s", source, error)
        return
    LOG.warning(
        "Prefect's record of past runs begins anew, the one until now is %s: %s", aside, reason
    )


def _free_place(source: Path) -> Path:
    """Return where nothing has been set aside yet: prefect-old.db, prefect-old-2.db and so on.

    It is taken by an empty file, or folder, so that no other run takes it as well.
    """
    first = place = source.with_name(ASIDE)
    number = 1
    while True:
        try:
            place.mkdir() if source.is_dir() else place.touch(exist_ok=False)
            return place
        except FileExistsError:
            number += 1
            place = first.with_stem(f"{first.stem}-{number}")


def _free(place: Path) -> None:
    """Give a place back that was taken in vain, as where another run has moved the database first."""
    if place.is_dir():
        place.rmdir()
    else:
        place.unlink()


def keep_history(folder: Path, before: Stamp | None) -> None:
    """Put a run's database in the place of the one of the runs before, where that can be written.

    Args:
        folder: of the run's database.
        before: the stamp of the database that it is a copy of.
    """
    target = prefect_folder() / DATABASE
    temporary = target.with_name(f".{DATABASE}-{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Without its write-ahead log, the database is one file that a rename replaces whole.
        with closing(sqlite3.connect(folder / DATABASE)) as database:
            database.execute("pragma journal_mode = delete")
        shutil.copyfile(folder / DATABASE, temporary)
        temporary.chmod(0o600)
        if history_stamp() not in (None, before):
            set_aside("it is of another run, which ended while this one was at work")
        temporary.replace(target)
        for rest in ("-wal", "-shm"):
            target.with_name(DATABASE + rest).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        LOG.warning("Prefect's record of this run is not kept: %s; %s", error, SETTING)
        with suppress(OSError):
            temporary.unlink()
