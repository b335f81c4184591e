"""Publish a run folder: the new run is built beside the old one, then the two change places.

    runs/.quickstart.curate-0123....new   the new run, report and manifest included, while it is built
    runs/.quickstart.curate-4567...       the new run before, and the old one after they change places
    runs/quickstart                       what readers see: the old run, or the new one, whole

Only what the old run's manifest lists is ever removed; a user's own files move along. Where folders
cannot change places (a mount point, a parent without write permission), files are moved one by one,
the manifest away first and back last.
"""

import ctypes
import logging
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from curate.core.errors import UserError
from curate.core.interrupt import scratch_folder
from curate.core.runlock import FolderLock
from curate.core.writable import written_below
from curate.runs.folder import MANIFEST, OLD_MANIFEST, listed_files

LOG = logging.getLogger("curate")
LEFTOVER = re.compile(r"\..+\.curate-[0-9a-f]{32}(\.new)?")
# What is being built has no files of the user's, and after a kill a manifest that may be half written.
UNFINISHED = ".new"
AT_FDCWD, RENAME_EXCHANGE = -100, 2


def temporary_name(path: Path) -> Path:
    """Return a hidden name beside a path, which a later run knows as a leftover of ours."""
    return path.with_name(f".{path.name}.curate-{uuid.uuid4().hex}")


def publish(folder: Path, lock: FolderLock, build: Callable[[Path], None]) -> None:
    """Build a new run and let it take the folder's place.

    Args:
        folder: the run folder, which this process has locked.
        lock: its lock, which holds the new folder as well.
        build: writes a whole run, its manifest included, into an empty folder.

    Raises:
        UserError: a file of the user's stands where the new run has one, or the disk is full.
    """
    remove_leftovers(folder)
    beside = _can_stand_beside(folder)
    new = temporary_name(folder) if beside else folder / temporary_name(folder).name
    staging = new.with_name(new.name + UNFINISHED)
    with scratch_folder(staging), written_below(staging, "give another --out", folder):
        staging.mkdir()
        shutil.copymode(folder, staging)
        build(staging)
        _sync_files(staging)
        foreign = [*_foreign_entries(folder)]
        _refuse_clashes(folder, staging, foreign)
        # From here on an interrupt removes nothing: once places are changed, there is the user's.
        staging.rename(new)
    lock.extend(new)
    if beside and _swap(folder, new):
        _carry_over(new, folder, foreign)
    else:
        _move_in(folder, new)
    _remove(new)


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed run left beside the folder or in it; files of the user's move back."""
    start = f".{folder.name}.curate-"
    for path in [*folder.parent.iterdir(), *folder.iterdir()]:
        if not LEFTOVER.fullmatch(path.name) or path.is_symlink():
            continue
        if path.parent == folder or (path.name.startswith(start) and path.is_dir()):
            _discard(path, folder)


def _discard(leftover: Path, folder: Path) -> None:
    if not leftover.is_dir():
        leftover.unlink()
        return
    whole = (leftover / MANIFEST).is_file() and not leftover.name.endswith(UNFINISHED)
    foreign = [*_foreign_entries(leftover)] if whole else []
    clashes = [entry for entry in foreign if os.path.lexists(folder / entry)]
    _carry_over(leftover, folder, [entry for entry in foreign if entry not in clashes])
    if clashes:
        LOG.warning("%s holds another %s than %s: it is kept", leftover, clashes[0], folder)
        return
    with suppress(OSError):
        _remove(leftover)


def _remove(leftover: Path) -> None:
    """Remove a folder without files of the user's, the manifest first.

    Half removed with its manifest, its own empty folders would look like the user's.
    """
    (leftover / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(leftover)


def _can_stand_beside(folder: Path) -> bool:
    parent = folder.parent
    one_device = folder.stat().st_dev == parent.stat().st_dev
    return one_device and not folder.is_mount() and os.access(parent, os.W_OK | os.X_OK)


def _foreign_entries(folder: Path) -> Iterator[Path]:
    """Yield the topmost entries of a run folder, relative to it, that its manifest does not list."""
    own = {Path(name) for name in listed_files(folder)}
    own_folders = {parent for name in own for parent in name.parents}

    def walk(place: Path) -> Iterator[Path]:
        for path in sorted((folder / place).iterdir()):
            entry = place / path.name
            if entry in own or LEFTOVER.fullmatch(path.name) or path.name == OLD_MANIFEST:
                continue
            if entry in own_folders and path.is_dir() and not path.is_symlink():
                yield from walk(entry)
            else:
                yield entry

    yield from walk(Path())


def _refuse_clashes(folder: Path, staging: Path, foreign: list[Path]) -> None:
    for entry in foreign:
        above = [staging / parent for parent in entry.parents[:-1]]
        if os.path.lexists(staging / entry) or any(path.is_file() for path in above):
            raise UserError(
                f"{folder / entry} is no file of a run, but this run would write one there; move it "
                "away and run again (finished steps are kept)"
            )


def _carry_over(old: Path, new: Path, foreign: list[Path]) -> None:
    for entry in foreign:
        (new / entry).parent.mkdir(parents=True, exist_ok=True)
        (old / entry).rename(new / entry)


def _swap(folder: Path, new: Path) -> bool:
    """Let two folders change places, at once where the system can; return whether that worked."""
    if _exchange(folder, new):
        return True
    aside = temporary_name(folder)
    try:
        folder.rename(aside)
    except OSError:
        return False
    try:
        new.rename(folder)
    except OSError:
        aside.rename(folder)
        return False
    aside.rename(new)
    return True


def _exchange(one: Path, other: Path) -> bool:
    rename = getattr(ctypes.CDLL(None), "renameat2", None)
    if rename is None:
        return False
    places = (AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other))
    return bool(rename(*places, RENAME_EXCHANGE) == 0)


def _move_in(folder: Path, staging: Path) -> None:
    """Replace a run's files one by one; without a manifest the folder is no run meanwhile."""
    old = listed_files(folder)
    if (folder / MANIFEST).exists():
        (folder / MANIFEST).replace(folder / OLD_MANIFEST)
    for name in old:
        (folder / name).unlink(missing_ok=True)
    _prune(folder, old)
    new = sorted(p for p in staging.rglob("*") if p.is_file() and p != staging / MANIFEST)
    for path in [*new, staging / MANIFEST]:
        target = folder / path.relative_to(staging)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
    (folder / OLD_MANIFEST).unlink(missing_ok=True)


def _prune(folder: Path, names: list[str]) -> None:
    """Remove the folders that the removal of files left empty."""
    emptied = {parent for name in names for parent in Path(name).parents if parent != Path()}
    for parent in sorted(emptied, key=lambda p: len(p.parts), reverse=True):
        place = folder / parent
        if place.is_dir() and not place.is_symlink() and not any(place.iterdir()):
            place.rmdir()


def _sync_files(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
