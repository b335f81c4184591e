"""Hides a server's key in what the server says, which may repeat it in any field and any writing.

    Bearer sk-abc123...   SK-ABC123...   YzJ0cy1hYmMx... (base64)   sk%2Dabc123...   ->   [key]

Not only the whole key: any piece of PIECE characters is hidden, since a server may cut it, or we.
"""

import base64
import html
import json
import logging
from collections.abc import Iterator
from urllib.parse import quote

LOG = logging.getLogger("curate")
PIECE = 12
# Each piece, wherever it begins, holds one of the sixes that begin at every seventh character.
SEED = 6
# Shorter ones ("EMPTY", "ollama") are placeholders for servers without keys, and words of answers too.
SHORTEST_KEY = 8
MARK = "[key]"
EXCERPT = 300
# One character each, so that places in the text stay what they are.
_LOWER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}


class Redactor:
    """The one way in which a server's words become ours: without the key, in bounds, on one line.

    Args:
        key: None for a server without one.
        place: the server, for a warning when it is seen for the first time to repeat the key.
    """

    def __init__(self, key: str | None = None, place: str = "the server") -> None:
        secret = key if key is not None and len(key) >= SHORTEST_KEY else None
        forms = list(_forms(secret))
        self._seeds = {seed for form in forms for seed in _seeds(form)}
        self._pieces = sorted({piece for form in forms for piece in _pieces(form)})
        self._place, self._warned = place, False

    def hide(self, text: str) -> str:
        """Return a text with the mark in place of the key and of every longer piece of it."""
        lowered = text.translate(_LOWER)
        if not any(seed in lowered for seed in self._seeds):
            return text
        spans = sorted(self._find(lowered))
        if not spans:
            return text
        self._warn()
        parts: list[str] = []
        end = 0
        for start, stop in spans:
            if start > end or not parts:
                parts += [text[end:start], MARK]
            end = max(end, stop)
        return "".join([*parts, text[end:]])

    def _warn(self) -> None:
        if not self._warned:
            LOG.warning(
                "%s repeats its key, which is hidden as %s wherever it says it", self._place, MARK
            )
        self._warned = True

    def _find(self, lowered: str) -> Iterator[tuple[int, int]]:
        for piece in self._pieces:
            start = lowered.find(piece)
            while start >= 0:
                yield start, start + len(piece)
                start = lowered.find(piece, start + 1)

    def excerpt(self, text: str, letters: int = EXCERPT) -> str:
        """Return the start of a text for a sentence: hidden before it is cut, one line, printable."""
        line = " ".join(self.hide(text).split())
        cut = line if len(line) <= letters else f"{line[: letters - 4]} ..."
        return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _forms(key: str | None) -> Iterator[str]:
    """Yield the ways in which a key may be written, in lower case."""
    if key is None:
        return
    escaped = json.dumps(key)[1:-1]
    plain = [key, quote(key, safe=""), html.escape(key), escaped, escaped.replace("/", "\\/")]
    # What stands before the key in base64 shifts it by 0, 1 or 2 bytes.
    for shift in range(3):
        coded = base64.b64encode(bytes(shift) + key.encode()).decode().rstrip("=")
        inner = coded[(shift * 4 + 2) // 3 :]
        plain += [inner, inner.replace("+", "-").replace("/", "_")]
    for form in [*plain, key.encode().hex()]:
        yield form.translate(_LOWER)


def _seeds(form: str) -> Iterator[str]:
    for start in range(0, len(form) - SEED + 1, SEED + 1):
        yield form[start : start + SEED]


def _pieces(form: str) -> Iterator[str]:
    size = min(PIECE, len(form))
    for start in range(len(form) - size + 1):
        yield form[start : start + size]
