"""Paths as a card shows them: without the folders of the machine that a run was made on.

/home/ann/data/pool.jsonl    pool.jsonl
/home/ann/dumps/*.gz         dumps/*.gz
dumps/*.gz, owner/name       as they are
"""

from pathlib import PurePath
from typing import Any

from curate.pool.globs import MAGIC


def public_path(text: str) -> str:
    """Return a path from the recipe; of an absolute one the name, of a glob its folder as well."""
    path = PurePath(text.removeprefix("file://"))
    if not path.is_absolute() or len(path.parts) < 2:
        return text
    start = next((i for i, part in enumerate(path.parts) if MAGIC.search(part)), len(path.parts))
    return "/".join(path.parts[max(start - 1, 1) :])


def with_public_paths(settings: Any) -> Any:
    """Return the settings of a recipe with such paths."""
    if isinstance(settings, dict):
        return {key: with_public_paths(value) for key, value in settings.items()}
    if isinstance(settings, list):
        return [with_public_paths(value) for value in settings]
    return public_path(settings) if isinstance(settings, str) else settings
