r"""JSON in a model's answer: the whole of it, in a code fence, or after words that lead up to it.

    'Let me see.\n{"grade": 4}'        {"grade": 4}

Nothing is mended: what is cut or invalid is no JSON.
"""

from collections.abc import Iterator
from typing import Any

import orjson
import regex

FENCE = regex.compile(r"^[ \t]*```[\w-]*[ \t]*\n(.*?)\n?[ \t]*```", regex.S | regex.M)
START = regex.compile(r"[{\[]")
MOST_STARTS = 200


def read_json(text: str) -> Any:
    """Return the JSON value of an answer; the last fenced one where several are.

    Raises:
        JSONDecodeError: there is none.
    """
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        for piece in _pieces(text.strip()):
            try:
                return orjson.loads(piece)
            except orjson.JSONDecodeError:
                continue
        raise error


def _pieces(text: str) -> Iterator[str]:
    yield from (fence[1] for fence in reversed(list(FENCE.finditer(text))))
    if text.endswith(("}", "]")):
        starts = [start.start() for start in START.finditer(text)]
        yield from (text[start:] for start in starts[:MOST_STARTS])
