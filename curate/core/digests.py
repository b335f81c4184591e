"""Digests that name contents: of JSON-like values and of files."""

import hashlib
from pathlib import Path
from typing import Any

import orjson


def digest_of(value: Any) -> str:
    """Return 32 hex digits that identify a JSON-like value, whatever the order of its keys."""
    canonical = orjson.dumps(value, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


def digest_file(path: Path) -> str:
    """Return 32 hex digits that identify a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
