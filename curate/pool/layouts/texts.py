"""The texts of a value, and whether they stand in a conversation's turns already."""

import re
from collections.abc import Iterator, Sequence
from typing import Any

from curate.core.rows import Message, normalise, turn_text

# Keys whose values name a turn and say nothing.
NAMES = frozenset({"role", "from", "speaker", "author", "type", "id"})
# An answer of this kind points at an option and does not say it.
POINTER = re.compile(r"\W*(?:[A-Za-z]|\d{1,3})\W*")


def texts_of(value: Any) -> Iterator[str]:
    """Yield the texts and numbers in a value, however deep; flags are none."""
    if isinstance(value, str):
        if value.strip():
            yield normalise(value)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield str(value)
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key not in NAMES:
                yield from texts_of(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts_of(inner)


def is_repeated(value: Any, turns: Sequence[Message]) -> bool:
    """Return whether a value says nothing but what the turns say, or is all of them in one text.

    {"messages": [..."What is 2 + 2?"...], "prompt": "What is 2 + 2?"}      the first
    {"instruction": "a", "output": "b", "text": "### Task: a ### Answer: b"}  the second
    """
    spoken = [normalise(turn_text(turn)) for turn in turns]
    if all(any(_occurs(text, turn) for turn in spoken) for text in texts_of(value)):
        return True
    return isinstance(value, str) and _holds_in_order(normalise(value), spoken)


def is_pointer(text: str) -> bool:
    """Return whether an answer is nothing but the letter or number of an option."""
    return POINTER.fullmatch(text) is not None


def _occurs(text: str, turn: str) -> bool:
    """Return whether a text stands in a turn as whole words."""
    start = turn.find(text)
    while start >= 0:
        end = start + len(text)
        inside = turn[max(start - 1, 0) : start + 1], turn[end - 1 : end + 1]
        if not any(len(pair) == 2 and pair.isalnum() for pair in inside):
            return True
        start = turn.find(text, start + 1)
    return False


def _holds_in_order(whole: str, turns: Sequence[str]) -> bool:
    at = 0
    for turn in turns:
        at = whole.find(turn, at)
        if at < 0:
            return False
        at += len(turn)
    return True
