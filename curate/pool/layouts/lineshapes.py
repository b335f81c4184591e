"""Lines of JSON that are equal but for their texts, and what each of these texts is.

{"prompt": "a", "n": 7, "completion": "b"}      prompt: text 0, completion: text 1, n: 7
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import orjson

from curate.core.arrowarrays import Numbers, array_numbers
from curate.pool.containers.jsonvalue import repeated_key
from curate.pool.containers.textcuts import TextCuts
from curate.pool.layouts.turn import TURN_KEYS

# Lines of which more than so many pieces between texts differ are told one by one.
MAX_PIECES = 256
# So are lines that fewer than one in so many are like: what a shape takes would be spent for few.
LEAST_SHARE = 64
# What is remembered at most; a piece between texts may be a long list of numbers.
MAX_SHAPES = 10_000
MAX_CHARS = 4 * 2**20
# Powers of it make one number of many.
BASE = 0x9E3779B97F4A7C15
# Bits of a number: lines with more texts in fields are told one by one as well.
MAX_FIELDS = 60
TURN_FORMS = {"role": "messages", "from": "sharegpt"}
SCALARS = (int, bool, type(None))


class LineShape(NamedTuple):
    """What the texts of a line are, by their numbers in it.

    kinds: by field, the type of its value.
    texts: by field, its text.
    constants: by field, another value as JSON.
    role_key: of turns, the key of the role; nothing where there are none.
    roles, contents: of each turn, its role and its text.
    """

    kinds: Mapping[str, type]
    texts: Mapping[str, int]
    constants: Mapping[str, str]
    role_key: str = ""
    roles: tuple[int, ...] = ()
    contents: tuple[int, ...] = ()


class ShapedLines(NamedTuple):
    """Lines of one shape: their numbers, and by line the number of its first text among all pieces."""

    shape: LineShape
    numbers: Numbers
    firsts: Numbers

    def pieces(self, texts: tuple[int, ...]) -> Numbers:
        """Return by line the numbers of some of its texts among all pieces."""
        return self.firsts[:, None] + 2 * np.array(texts, np.int64)

    def kept(self, keep: Numbers) -> "ShapedLines":
        """Return some of the lines."""
        return self._replace(numbers=self.numbers[keep], firsts=self.firsts[keep])


@dataclass
class LineShapes:
    """The shapes of lines that were met: one line of each is parsed, unless few are like it."""

    _pieces: dict[str, int] = field(default_factory=dict)
    _shapes: dict[bytes, LineShape | None] = field(default_factory=dict)

    def of(self, cuts: TextCuts) -> Iterator[ShapedLines]:
        """Yield lines by their shapes; those that have none are left out."""
        lines = np.flatnonzero(cuts.counts)
        between = cuts.between(lines)
        pieces = between.dictionary.to_pylist()
        if not len(lines) or len(pieces) > MAX_PIECES:
            return
        codes = self._numbered(pieces)[array_numbers(between.indices)]
        counts = cuts.counts[lines] + 1
        starts = np.cumsum(counts) - counts
        for count in np.unique(counts):
            chosen = np.flatnonzero(counts == count)
            rows = codes[starts[chosen, None] + np.arange(count)]
            for key, alike in _alike(rows, len(lines) / LEAST_SHARE):
                shape = self._shape(key, cuts, numbers := lines[chosen[alike]])
                if shape is not None:
                    yield ShapedLines(shape, numbers, cuts.starts[numbers] + 1)

    def _shape(self, key: bytes, cuts: TextCuts, numbers: Numbers) -> LineShape | None:
        """Return the shape of lines, which the first one tells."""
        if key not in self._shapes:
            self._shapes[key] = _shape(cuts, numbers[0])
        return self._shapes[key]

    def _numbered(self, pieces: list[str]) -> Numbers:
        """Return a number for each piece, the same one whenever it comes."""
        kept = [*self._shapes, *self._pieces]
        if len(kept) > MAX_SHAPES or sum(map(len, kept)) > MAX_CHARS:
            self._shapes.clear()
            self._pieces.clear()
        numbers = [self._pieces.setdefault(piece, len(self._pieces)) for piece in pieces]
        return np.array(numbers, np.uint32)


def _alike(rows: Numbers, least: float) -> Iterator[tuple[bytes, Numbers]]:
    """Yield each distinct row that so many are like, with the numbers of these."""
    powers = np.uint64(BASE) ** np.arange(rows.shape[1], dtype=np.uint64)
    _, firsts, which, sizes = np.unique(
        rows @ powers, return_index=True, return_inverse=True, return_counts=True
    )
    for number in np.flatnonzero(sizes >= least):
        first, alike = rows[firsts[number]], np.flatnonzero(which == number)
        yield first.tobytes(), alike[(rows[alike] == first).all(axis=1)]


def _shape(cuts: TextCuts, number: int) -> LineShape | None:
    """Return the shape of a line; None if it holds more than texts, plain values and plain turns."""
    start, count = int(cuts.starts[number]), int(cuts.counts[number])
    line = "".join(cuts.written.slice(start, 2 * count + 1).to_pylist()).encode()
    try:
        record = orjson.loads(line)
    except orjson.JSONDecodeError:
        return None
    texts: list[str] = []
    shape = _walked(record, texts) if type(record) is dict else None
    same = texts == cuts.texts.slice(start, 2 * count).to_pylist()[1::2]
    return shape if same and repeated_key(line, record) is None else None


def _walked(record: dict[str, Any], texts: list[str]) -> LineShape | None:
    """Return the shape of a record, and add its texts in their order."""
    kinds = {name: type(value) for name, value in record.items()}
    numbers, constants, turns = {}, {}, LineShape({}, {}, {})
    for name, value in record.items():
        if kinds[name] is str:
            numbers[name] = len(texts)
            texts.append(value)
        elif kinds[name] is list and not turns.role_key:
            turns = _walked_turns(value, texts) or turns
            if not turns.role_key:
                return None
        elif kinds[name] in SCALARS:
            constants[name] = orjson.dumps(value).decode()
        else:
            return None
    if len(numbers) > MAX_FIELDS:
        return None
    return turns._replace(kinds=kinds, texts=numbers, constants=constants)


def _walked_turns(turns: list[Any], texts: list[str]) -> LineShape | None:
    """Return the shape of turns that are a role and a text each; None if one is not."""
    first = turns[0] if turns else None
    role_key = next((key for key in TURN_FORMS if type(first) is dict and key in first), "")
    roles: list[int] = []
    contents: list[int] = []
    for turn in turns:
        if type(turn) is not dict or turn.keys() != {role_key, TURN_KEYS.get(role_key)}:
            return None
        for key, text in turn.items():
            (roles if key == role_key else contents).append(len(texts))
            texts.append(text)
    return LineShape({}, {}, {}, role_key, tuple(roles), tuple(contents)) if role_key else None
