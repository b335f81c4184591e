r"""JSON in a model's answer: the whole of it, in a code fence, or between words that lead up and off.

    'Let me see.\n{"grade": 4}'        {"grade": 4}

Nothing is mended: what is cut or invalid is no JSON.
"""

from collections.abc import Iterator
from typing import Any

import orjson
import regex

FENCE = regex.compile(
    r"^[ \t]*(`{3,}|~{3,})[\w-]*[ \t]*\r?\n(.*?)\r?\n?[ \t]*\1", regex.S | regex.M
)
# What may stand behind the value: signs around it, a tag that closes, another paragraph.
BEHIND = regex.compile(r"[\s*`~.)\"”$]*(?:</\w+>)?\s*(?:(?<=\n[ \t\r]*\n[ \t]*)[^{}\[\]]*)?")
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
    yield from (fence[2] for fence in reversed(list(FENCE.finditer(text))))
    end = max(text.rfind(bracket) for bracket in "}]") + 1
    if end and BEHIND.fullmatch(text, end):
        starts = [start.start() for start in START.finditer(text, endpos=end)]
        yield from (text[start:end] for start in starts[:MOST_STARTS])
