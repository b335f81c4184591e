"""JSON objects that carry a checksum of their own: a byte that is not as it was written is noticed."""

from collections.abc import Mapping
from typing import Any

import orjson

from curate.core.digests import digest_of
from curate.core.jsontypes import JSON

CHECKSUM = "checksum"
PRETTY = orjson.OPT_INDENT_2 | orjson.OPT_SORT_KEYS


def dump_checksummed(value: Mapping[str, JSON]) -> bytes:
    """Return an object as readable JSON with sorted keys and its checksum."""
    return orjson.dumps({**value, CHECKSUM: digest_of(value)}, option=PRETTY)


def load_checksummed(data: bytes) -> dict[str, Any]:
    """Return what `dump_checksummed` was given.

    Raises:
        ValueError: a byte is not as it was written.
    """
    value = orjson.loads(data)
    if not isinstance(value, dict):
        raise ValueError("a checksummed file holds an object")
    value.pop(CHECKSUM, None)
    if dump_checksummed(value) != data:
        raise ValueError("the file is not as it was written")
    return value
