"""JSON values as they are written in practice: NaN and Infinity for null, keys that come twice."""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from curate.core.jsontext import parse_json

NOT_FINITE = re.compile(rb'"(?:[^"\\]++|\\.)*+"|-?\b(?:NaN|Infinity)\b', re.S)

# A colon that is written as an escape, or another sign near it.
COLON = b"\\u003"


def parse_record(raw: bytes) -> Any:
    """Return the value of a record's JSON text, with null for NaN and Infinity.

    Raises:
        orjson.JSONDecodeError: as parse_json.
        JsonLimit: as parse_json.
    """
    try:
        return parse_json(raw)
    except orjson.JSONDecodeError:
        if b"NaN" not in raw and b"Infinity" not in raw:
            raise
        return parse_json(NOT_FINITE.sub(_as_null, raw))


def _as_null(match: re.Match[bytes]) -> bytes:
    return match[0] if match[0].startswith(b'"') else b"null"


def is_whole(raw: bytes) -> bool:
    """Return whether JSON text that is not valid is so for what its values hold, and not for its form.

    It holds half of a surrogate pair, a control character, bytes that are no UTF-8 or a number that is
    too large, or is nested too deeply: what comes behind it is sound all the same.
    """
    try:
        text = raw.decode(errors="replace")
        json.loads(text, strict=False, parse_int=str, parse_float=str)
    except RecursionError:
        return True
    except ValueError:
        return False
    return True


def is_not_finite(raw: bytes, value: Any, field: str) -> bool:
    """Return whether a field of a record is null for being NaN or Infinity.

    In tables, where there is no text, only those are null: the others are left out.
    """
    if not raw:
        return isinstance(value, dict) and value.get(field, field) is None
    name = re.escape(json.dumps(field.split(".")[-1], ensure_ascii=False).encode(errors="replace"))
    return re.search(name + rb"\s*:\s*-?(?:NaN|Infinity)\b", raw) is not None


def has_repeated_key(raws: Sequence[bytes], values: Sequence[Any]) -> bool:
    """Return whether an object in one of these JSON texts may have a key twice; `repeated_key` tells.

    A pair that was lost took its colon with it: then they have others than the values written again.
    """
    joined = b"\n".join(raws)
    try:
        colons = _colons(orjson.dumps(values))
    except TypeError:
        # A long integer or deep nesting.
        return True
    return _colons(joined) != colons or (b"\\" in joined and COLON in joined)


def _colons(text: bytes) -> int:
    """Return how many there are, some times as fast as `bytes.count` tells it."""
    return int(np.count_nonzero(np.frombuffer(text, np.uint8) == ord(":")))


def repeated_key(raw: bytes, value: Any) -> str | None:
    """Return a key that an object in this JSON text has twice; the last one counts.

    The text is parsed once more only where it may be so.
    """
    if not has_repeated_key([raw], value):
        return None
    repeated: list[str] = []

    def check(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        keys = [key for key, _ in pairs]
        if len(set(keys)) < len(keys):
            repeated.extend(key for key in keys if keys.count(key) > 1)
        return dict(pairs)

    try:
        json.loads(raw, object_pairs_hook=check)
    except RecursionError:
        return None
    return repeated[0] if repeated else None
