"""JSON text, parsed strictly and within limits."""

import json
import re
from typing import Any

import orjson

# Where an integer can stand, which is looked for in half the time that it takes to look everywhere.
LONG_INTEGER = re.compile(rb"[:,\[][ \t\r\n]*+-?[0-9]{19}")


class JsonLimit(ValueError):
    """Sound JSON that is nested too deeply for Python's own reader."""


def parse_json(data: bytes) -> Any:
    """Return the value of strict JSON text; integers stay exact as long as a float can hold them.

    Raises:
        orjson.JSONDecodeError: the data is no JSON, no UTF-8, or nested more than 1,024 levels deep.
        JsonLimit: it holds a long integer, and is nested more than about 900 levels deep.
    """
    value = orjson.loads(data)
    if not isinstance(value, float) and not LONG_INTEGER.search(data):
        return value
    # orjson turns integers beyond 64 bits into floats; the standard library keeps them.
    try:
        return json.loads(data)
    except RecursionError:
        raise JsonLimit("nested too deeply") from None
