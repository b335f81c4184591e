"""Walk a folder: every file in it once, in the order of names, without what is no data.

Left out, and named in the log once: hidden files, those that macOS, Jupyter and `datasets` put beside
the data, links to nothing, and folders that are met a second time.
"""

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

LOG = logging.getLogger("curate")
HOUSEKEEPING = frozenset(
    ("dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "__MACOSX")
)
MAX_LISTED_NAMES = 50


@dataclass(frozen=True)
class Folder:
    """A folder or bucket: the names of the files in it, and what reads a small one as text.

    place: where it is, with a slash behind it.
    """

    place: str
    names: Sequence[str]
    read: Callable[[str], str]


def is_housekeeping(name: str) -> bool:
    """Return whether a path within a folder leads to what is never data."""
    return any(part.startswith(".") or part in HOUSEKEEPING for part in name.split("/"))


def log_left_out(place: str, names: Sequence[str], why: str) -> None:
    """Name the files of a folder that are not read."""
    if names:
        more = (
            f" and {len(names) - MAX_LISTED_NAMES:,} more" if len(names) > MAX_LISTED_NAMES else ""
        )
        LOG.warning("%s: left out, %s: %s%s", place, why, ", ".join(names[:MAX_LISTED_NAMES]), more)


def walk(base: str, depth: int | None) -> Iterator[str]:
    """Yield what is in a folder and is no folder, by the name within it.

    A link to a folder is followed, after the folder itself has been read, unless it leads to one that is
    read anyway or that the link lies in.

    Args:
        base: the folder, with a slash behind it.
        depth: how many levels of it; None for all.

    Raises:
        OSError: a folder in it cannot be read.
    """
    if not os.path.isdir(base):  # noqa: PTH112
        return
    visited: set[str] = set()
    root = base.rstrip("/") or "/"
    links = [root]
    while links:
        start = links.pop(0)
        if start != root and (why := _second_visit(start, visited)):
            LOG.warning("%s is a link to a folder %s: not followed", start, why)
            continue
        for folder, inner, names in os.walk(start, onerror=_fail):
            visited.add(os.path.realpath(folder))
            place = folder.removeprefix(root).strip("/")
            inner.sort()
            for name in sorted(names):
                yield f"{place}/{name}".lstrip("/")
            level = place.count("/") + 2 if place else 1
            if depth is not None and level >= depth:
                inner.clear()
            links += [f"{folder}/{name}" for name in inner if Path(folder, name).is_symlink()]


def _second_visit(link: str, visited: set[str]) -> str | None:
    """Return why a link to a folder is not followed; None if it is."""
    target = os.path.realpath(link)
    if target in visited:
        return "that is read already"
    # What lies above the link holds the folder that is being read.
    return "around it" if os.path.realpath(Path(link).parent).startswith(target + "/") else None


def _fail(error: OSError) -> None:
    raise error
