"""Prefect's database of past runs: one file that every run copies, works on, and puts back.

It holds nothing that the store does not, so a damaged, foreign or locked one is left out and then
replaced, and of two runs at once the later one's stays.
"""

import logging
import os
import shutil
import sqlite3
import uuid
from contextlib import closing, suppress
from pathlib import Path

LOG = logging.getLogger("curate")
DATABASE = "prefect.db"
LARGEST_BYTES = 64 << 20


def prefect_folder() -> Path:
    """Return the folder of what Prefect keeps for curate."""
    return (
        Path(os.environ.get("CURATE_CACHE", "~/.cache/curate")).expanduser().resolve() / "prefect"
    )


def copy_history(folder: Path) -> bool:
    """Copy the database of past runs into a folder; say whether there is a sound one."""
    source, copy = prefect_folder() / DATABASE, folder / DATABASE
    try:
        if source.stat().st_size > LARGEST_BYTES:
            return False
        shutil.copyfile(source, copy)
        with closing(sqlite3.connect(copy)) as database:
            sound = bool(database.execute("pragma integrity_check(1)").fetchone() == ("ok",))
    except (OSError, sqlite3.Error):
        sound = False
    if not sound:
        copy.unlink(missing_ok=True)
    return sound


def forget_history() -> None:
    """Remove the database of past runs, with which a run went wrong."""
    with suppress(OSError):
        (prefect_folder() / DATABASE).unlink(missing_ok=True)


def keep_history(folder: Path) -> None:
    """Put a run's database in the place of the one of the runs before, where that can be written."""
    target = prefect_folder() / DATABASE
    temporary = target.with_name(f".{DATABASE}-{uuid.uuid4().hex}")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        # Without its write-ahead log, the database is one file that a rename replaces whole.
        with closing(sqlite3.connect(folder / DATABASE)) as database:
            database.execute("pragma journal_mode = delete")
        shutil.copyfile(folder / DATABASE, temporary)
        temporary.chmod(0o600)
        if target.is_dir():
            shutil.rmtree(target)
        temporary.replace(target)
        for rest in ("-wal", "-shm"):
            target.with_name(DATABASE + rest).unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        LOG.warning("Prefect's record of this run is not kept: %s", error)
        with suppress(OSError):
            temporary.unlink()
