"""Globs over the names in a folder or bucket: where one starts, how deep it goes, what it matches."""

import re
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from curate.core.errors import UserError
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    import fsspec.utils as fsspec_utils
else:
    fsspec_utils = lazy_module("fsspec.utils")

MAGIC = re.compile(r"[*?\[]")


def split_glob(root: str, exists: Callable[[str], bool]) -> tuple[str, str]:
    """Return the folder that a glob starts from and its pattern; a part that exists is no pattern."""
    parts = root.split("/")
    for i, part in enumerate(parts):
        if MAGIC.search(part) and not exists("/".join(parts[: i + 1])):
            return "/".join([*parts[:i], ""]), "/".join(parts[i:])
    return root, ""


def glob_depth(pattern: str) -> int | None:
    """Return how many levels a pattern spans; None if there is no pattern, or it spans any number."""
    return None if not pattern or "**" in pattern else pattern.count("/") + 1


def glob_matcher(pattern: str, path: str) -> Callable[[str], Any]:
    """Return what says whether a name matches a pattern.

    Args:
        pattern: the glob.
        path: the whole of what the user wrote, for errors.

    Raises:
        UserError: it is no glob.
    """
    try:
        return re.compile(fsspec_utils.glob_translate(pattern)).match
    except (ValueError, re.error) as error:
        raise UserError(f"{path!r} is no glob: {error}") from error
