r"""The escapes of JSON texts, those of many texts at once.

a\nb \/ \u00e9      a, a line feed, b / é
"""

from typing import NamedTuple

import numpy as np

from curate.core.arrowarrays import Numbers

# What is written behind a backslash, and what it stands for.
SHORT = dict(zip(b'"\\/nrtbf', b'"\\/\n\r\t\b\f', strict=True))
MEANT = np.array([SHORT.get(code, 0) for code in range(256)], np.uint8)
NO_DIGIT = 16
DIGITS = np.array(
    [int(chr(c), 16) if chr(c) in "0123456789abcdefABCDEF" else NO_DIGIT for c in range(256)]
)
LONG = len(r"\u00e9")
# A byte that no text holds.
DROPPED = b"\xff"
SPACE, TWO_BYTES, THREE_BYTES = 0x20, 0x80, 0x800
SURROGATES = range(0xD800, 0xE000)


class Unescaped(NamedTuple):
    """Bytes without escapes, which of the bytes have gone, and where an escape is not a usual one.

    Not usual are control characters that JSON has no letter for, and halves of surrogate pairs.
    """

    data: bytes
    dropped: Numbers
    odd: Numbers


def unescape(codes: Numbers, openers: Numbers) -> Unescaped:
    """Return what bytes say whose escapes open at these places."""
    plain, letters = codes.copy(), codes[openers + 1]
    is_long = letters == ord("u")
    long, short, meant = openers[is_long], openers[~is_long], MEANT[letters[~is_long]]
    points = _points(codes, long)
    usual = (points >= SPACE) & ((points < SURROGATES.start) | (points >= SURROGATES.stop))
    places, encoded = long[usual, None] + np.arange(LONG), _encoded(points[usual])
    plain[short + 1] = meant
    plain[short] = DROPPED[0]
    plain[places] = encoded
    dropped = np.concatenate([short, places[encoded == DROPPED[0]]])
    dropped.sort(kind="stable")
    odd = np.concatenate([short[meant == 0], long[~usual]])
    return Unescaped(plain.tobytes().replace(DROPPED, b""), dropped, odd)


def _points(codes: Numbers, long: Numbers) -> Numbers:
    """Return the characters of escapes by number; -1 where it is none."""
    places = np.minimum(long[:, None] + np.arange(2, LONG), len(codes) - 1)
    digits = DIGITS[codes[places]]
    points = digits @ np.array([4096, 256, 16, 1])
    return np.where((digits == NO_DIGIT).any(axis=1), -1, points)


def _encoded(points: Numbers) -> Numbers:
    """Return characters as UTF-8 in as many bytes as their escapes have, the last ones dropped."""
    last = 0x80 | points & 0x3F
    dropped = np.full_like(points, DROPPED[0])
    sizes = [points < TWO_BYTES, points < THREE_BYTES]
    encoded = [
        np.select(sizes, [points, 0xC0 | points >> 6], 0xE0 | points >> 12),
        np.select(sizes, [dropped, last], 0x80 | points >> 6 & 0x3F),
        np.select(sizes, [dropped, dropped], last),
        *[dropped] * (LONG - 3),
    ]
    return np.stack(encoded, axis=1).astype(np.uint8)
