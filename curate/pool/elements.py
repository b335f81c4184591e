"""Cut a JSON document that holds a list of rows into its elements, without holding all of it.

[{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]
{"version": "1", "data": [{"instruction": "a", "output": "b"}]}

Only brackets, quotes, commas and colons are looked at here; each element is parsed by whoever reads it.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO

import orjson

from curate.core.jsontext import JsonLimit
from curate.pool.containers.jsonvalue import parse_record

CHUNK = 2**20
SPLITS = ("train", "validation", "valid", "val", "dev", "eval", "test")
LIST_KEYS = ("data", "rows", "examples", "instances", "records", "items", "samples", *SPLITS)
MAX_LISTED_KEYS, MAX_KEY_CHARS = 11, 80
SPACE = re.compile(rb"[ \t\r\n]*")
SCALAR = re.compile(rb"[^ \t\r\n,:\[\]{}\"]*")
TEXT = rb'"(?:[^"\\]++|\\.)*+"'
FLAT = rb'[\[{](?:[^"\[\]{}]++|%s)*+[\]}]' % TEXT
# Nearly all elements: they lie in what is held as a whole, and are nested three levels deep at most.
COMMON = re.compile(
    rb'[\[{](?:[^"\[\]{}]++|%s|[\[{](?:[^"\[\]{}]++|%s|%s)*+[\]}])*+[\]}]' % (TEXT, TEXT, FLAT),
    re.S,
)
TEXT_REST = re.compile(rb'(?:[^"\\]++|\\.)*+("?)', re.S)
# A whole string, or else a sign: a string that is not whole goes on beyond what is held.
SIGN = re.compile(TEXT + rb'|["\[\]{}]', re.S)


class BrokenDocument(Exception):
    """A JSON document that cannot be cut: the line and what is wrong there."""

    def __init__(self, line: int, problem: str) -> None:
        super().__init__(f"line {line}: {problem}")
        self.line, self.problem = line, problem


class NoRows(Exception):
    """A JSON object that holds no list of rows, or several: its keys, and those of the lists."""

    def __init__(self, keys: list[str], lists: list[str]) -> None:
        super().__init__(", ".join(keys))
        self.keys, self.lists = keys, lists


@dataclass(frozen=True)
class Element:
    """The bytes of one value and the line that it starts in; of one that is too long the beginning."""

    raw: bytes
    line: int
    too_long: bool = False


class Cutter:
    """A stream of JSON, cut into values one after another."""

    def __init__(self, stream: IO[bytes], longest: int) -> None:
        self._stream, self._longest = stream, longest
        self._data, self._at = b"", 0
        self.line = 1

    def peek(self) -> bytes:
        """Return the next byte that is no white space; nothing at the end."""
        while True:
            end = SPACE.match(self._data, self._at).end()  # type: ignore[union-attr]
            self.line += self._data.count(b"\n", self._at, end)
            self._at = end
            if end < len(self._data):
                return self._data[end : end + 1]
            if not self._fill():
                return b""

    def take(self, signs: bytes) -> bytes:
        """Return the next byte, which must be one of these."""
        sign = self.peek()
        if not sign or sign not in signs:
            raise self.broken(sign)
        self._at += 1
        return sign

    def broken(self, sign: bytes) -> BrokenDocument:
        """Return the fault of a byte that cannot stand here."""
        problem = f"unexpected {sign.decode(errors='replace')!r}" if sign else "it breaks off"
        return BrokenDocument(self.line, problem)

    def value(self) -> Element:
        """Return the next value, whatever it is."""
        sign, line = self.peek(), self.line
        if not sign or sign in b",:]}":
            raise self.broken(sign)
        if (match := COMMON.match(self._data, self._at)) and len(match[0]) <= self._longest:
            self._at = match.end()
            self.line += match[0].count(b"\n")
            return Element(match[0], line)
        parts: list[bytes] = []
        size = 0
        for part in self._nested() if sign in b'"[{' else self._scalar():
            size += len(part)
            self.line += part.count(b"\n")
            # Of a value that is too long the first part tells enough.
            if size <= self._longest or not parts:
                parts.append(part)
        return Element(b"".join(parts), line, size > self._longest)

    def _scalar(self) -> Iterator[bytes]:
        while True:
            end = SCALAR.match(self._data, self._at).end()  # type: ignore[union-attr]
            yield self._pass(end)
            if end < len(self._data) or not self._fill():
                return

    def _nested(self) -> Iterator[bytes]:
        """Yield the bytes of a string, list or object, as they come."""
        start, depth, in_text = self._at, 0, False
        while True:
            if in_text:
                match = TEXT_REST.match(self._data, self._at)
                in_text = not (match and match[1])
                self._at = match.end() if match else self._at
            elif (match := SIGN.search(self._data, self._at)) is not None:
                self._at = match.end()
                sign = match[0]
                in_text = sign == b'"'
                depth += (sign in (b"{", b"[")) - (sign in (b"}", b"]"))
            else:
                self._at = len(self._data)
            if not in_text and depth == 0:
                yield self._data[start : self._at]
                return
            if match is None or in_text:
                yield self._data[start : self._at]
                if not self._fill():
                    raise self.broken(b"")
                start = self._at

    def _pass(self, end: int) -> bytes:
        part, self._at = self._data[self._at : end], end
        return part

    def _fill(self) -> bool:
        """Read on behind what is not used up yet; return whether there was more."""
        more = self._stream.read(CHUNK)
        self._data, self._at = self._data[self._at :] + more, 0
        return bool(more)


def cut_document(stream: IO[bytes], longest: int, split: str | None = None) -> Iterator[Element]:
    """Yield the rows of a JSON document: the elements of a list, or of the one list that it holds.

    Args:
        stream: where the document starts.
        longest: bytes of an element; of a longer one only the beginning is given.
        split: key of the list, in an object of several.

    Raises:
        BrokenDocument: it is no JSON, or breaks off.
        NoRows: it is an object without exactly one list of objects under a usual name, or without
            the split; or a list, which has no split.
    """
    cutter = Cutter(stream, longest)
    if cutter.take(b"[{") == b"{":
        yield from _elements_of_object(cutter, split)
    elif split:
        raise NoRows([], [])
    else:
        yield from _elements(cutter)
    if cutter.peek():
        raise cutter.broken(cutter.peek())


def object_keys(stream: IO[bytes], longest: int) -> dict[str, bytes]:
    """Return the keys of a JSON object, each with the first byte of its value.

    Raises:
        BrokenDocument: it is none.
    """
    cutter = Cutter(stream, longest)
    keys: dict[str, bytes] = {}
    sign = cutter.take(b"{")
    while cutter.peek() != b"}" and sign != b"}":
        if cutter.peek() != b'"':
            raise cutter.broken(cutter.peek())
        key = cutter.value().raw[1:-1].decode(errors="replace")
        cutter.take(b":")
        keys[key] = cutter.value().raw[:1]
        sign = cutter.take(b",}")
    return keys


def _elements(cutter: Cutter) -> Iterator[Element]:
    """Yield the elements of a list whose opening bracket has been taken."""
    if cutter.peek() == b"]":
        cutter.take(b"]")
        return
    while True:
        yield cutter.value()
        if cutter.take(b",]") == b"]":
            return


def _elements_of_object(cutter: Cutter, split: str | None) -> Iterator[Element]:
    """Yield the elements of the one list of objects in an object whose brace has been taken."""
    keys: list[str] = []
    lists: list[str] = []
    while cutter.peek() != b"}" or keys:
        if cutter.peek() != b'"':
            raise cutter.broken(cutter.peek())
        key = cutter.value().raw[1:-1].decode(errors="replace")
        keys = [*keys[:MAX_LISTED_KEYS], key[:MAX_KEY_CHARS]]
        cutter.take(b":")
        if key not in (*LIST_KEYS, split) or cutter.peek() != b"[":
            _check(cutter.value())
        else:
            cutter.take(b"[")
            elements, of_rows = _elements(cutter), cutter.peek() == b"{"
            lists += [key] if of_rows else []
            rows = of_rows and (key == split if split else len(lists) == 1)
            for element in elements:
                if rows:
                    yield element
                else:
                    _check(element)
        if cutter.take(b",}") == b"}":
            break
    else:
        cutter.take(b"}")
    if (lists.count(split) if split else len(lists)) != 1:
        raise NoRows(keys, lists)


def _check(element: Element) -> None:
    """Fail if what is passed over is no JSON."""
    try:
        parse_record(b"0" if element.too_long else element.raw)
    except orjson.JSONDecodeError as error:
        raise BrokenDocument(element.line + error.lineno - 1, error.msg) from error
    except JsonLimit:
        pass
