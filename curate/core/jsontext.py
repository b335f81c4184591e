"""JSON text, parsed strictly and within limits."""

import json
import re
from typing import Any

import orjson

# Whoever reads what is written here, however deep in calls, has levels of recursion left for it.
DEEPEST = 500
# Levels that the standard library reads in every version of Python.
DEEPEST_READ = 900
# Where a long integer can stand. Most texts hold no such run of digits, which is seen much sooner.
LONG_INTEGER = re.compile(rb"[:,\[][ \t\r\n]*+-?[0-9]{19}")
ZEROS = bytes.maketrans(b"123456789", b"0" * 9)
LONG_RUN = b"0" * 19


class JsonLimit(ValueError):
    """Sound JSON that is nested too deeply for Python's own reader."""


def parse_json(data: bytes) -> Any:
    """Return the value of strict JSON text; integers stay exact as long as a float can hold them.

    Raises:
        orjson.JSONDecodeError: the data is no JSON, no UTF-8, or nested more than 1,024 levels deep.
        JsonLimit: it holds a long integer, and is nested more than DEEPEST_READ levels deep.
    """
    value = orjson.loads(data)
    long_run = LONG_RUN in data.translate(ZEROS)
    if not isinstance(value, float) and not (long_run and LONG_INTEGER.search(data)):
        return value
    if not _is_within(value, DEEPEST_READ):
        raise JsonLimit("nested too deeply")
    # orjson turns integers beyond 64 bits into floats; the standard library keeps them.
    try:
        return json.loads(data)
    except RecursionError:
        raise JsonLimit("nested too deeply") from None


def dump_json(value: Any) -> str:
    """Return a value as JSON; integers of any size stay exact.

    Raises:
        JsonLimit: it is nested more than DEEPEST levels deep.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        # An integer beyond 64 bits, or more than 254 levels.
        if not _is_within(value, DEEPEST):
            raise JsonLimit("nested too deeply") from None
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _is_within(value: Any, levels: int) -> bool:
    """Return whether a value is nested at most so deep."""
    inner = [value]
    while inner and levels >= 0:
        levels -= 1
        parts = [
            v.values() if isinstance(v, dict) else v for v in inner if isinstance(v, dict | list)
        ]
        inner = [part for some in parts for part in some]
    return not inner
