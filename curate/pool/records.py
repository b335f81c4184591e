"""Read the records of a pool file, one at a time, with their positions, in bounded memory.

A record is a line of a JSON Lines file or an element of a JSON document. What a file is gets decided by
its content, never by its name: gzip by its magic bytes, a document by its first two lines.
"""

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import orjson

from curate.errors import UserError
from curate.jsontext import JsonLimit, parse_json
from curate.pool.elements import LIST_KEYS, BrokenDocument, NoRows, cut_document
from curate.pool.files import BLOCK, PoolFile, open_checked

GZIP_MAGIC = b"\x1f\x8b"
BOM = codecs.BOM_UTF8
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
PEEKED_LINES = 2
# Bytes of a record, its line end included: longer ones become rejects. Whatever expands to more than
# this, a gzip bomb for one, passes through without ever being held.
LONGEST = 64 * 2**20
BEGINNING = 8_000


@dataclass(frozen=True)
class Record:
    """A raw record: its 1-based line or element number and its bytes, or its parsed value as well.

    too_long: there were more than LONGEST bytes; `raw` is their beginning.
    """

    position: int
    raw: bytes = b""
    value: Any = None
    parsed: bool = False
    too_long: bool = False


def read_records(file: PoolFile) -> Iterator[Record]:
    """Yield the file's records in order; blank lines are no records.

    Raises:
        UserError: the file is a JSON document in which no list of rows was found, is cut off, damaged
            or in another encoding, cannot be read, or is not the one that it was when it was found.
    """
    with open_checked(file) as raw, _unpacked(file, raw) as stream:
        head = _read_head(file, stream)
        read = _document_records if _is_document(file, head, stream) else _line_records
        yield from read(file, io.BufferedReader(Rejoined(b"".join(head), stream), BLOCK))


class Rejoined(io.RawIOBase):
    """A stream with what was read from it put back in front."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes of the head, then of the rest."""
        return self._head.readinto(buffer) or self._rest.readinto(buffer)  # type: ignore


@contextmanager
def _unpacked(file: PoolFile, raw: IO[bytes]) -> Iterator[IO[bytes]]:
    """Give the bytes inside a gzip file, or those of any other file as they are."""
    if raw.peek(2)[:2] != GZIP_MAGIC:  # type: ignore[attr-defined]
        yield raw
        return
    try:
        yield io.BufferedReader(gzip.GzipFile(fileobj=raw), BLOCK)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise UserError(f"{file.url}: the gzip data is damaged or cut off ({error})") from error


def _pieces(stream: IO[bytes]) -> Iterator[bytes]:
    """Yield lines; one that is longer than LONGEST comes in pieces."""
    while piece := stream.readline(LONGEST + 1):
        yield piece


def _read_head(file: PoolFile, stream: IO[bytes]) -> list[bytes]:
    """Return the pieces up to the second line that is not blank, without a byte order mark.

    Raises:
        UserError: they are no UTF-8, or no lines.
    """
    head: list[bytes] = []
    filled = 0
    for piece in _pieces(stream):
        if not head and piece.startswith(UTF_16):
            raise UserError(
                f"{file.url}: the file is UTF-16; convert it, e.g. iconv -f utf-16 -t utf-8"
            )
        head.append(piece if head else piece.removeprefix(BOM))
        filled += bool(head[-1].strip())
        if filled == PEEKED_LINES or len(piece) > LONGEST:
            break
    first = next((piece.strip() for piece in head if piece.strip()), b"")
    opening, returned, _ = first.partition(b"\r")
    if returned and isinstance(_parse_or_none(opening), dict):
        raise UserError(
            f"{file.url}: the lines end in a carriage return alone; convert them, "
            r"e.g. tr '\r' '\n'"
        )
    return head


def _is_document(file: PoolFile, head: list[bytes], stream: IO[bytes]) -> bool:
    """Return whether a file is one JSON document; what was read to find out is added to the head.

    JSON Lines files, which may be huge, are told by a first or second line that is a whole object.

    Raises:
        UserError: it is a document, but none that holds rows.
    """
    lines = [piece.strip() for piece in head if piece.strip()]
    if not lines or not lines[0].startswith((b"[", b"{")):
        return False
    if len(lines) == PEEKED_LINES and (
        isinstance(_parse_or_none(lines[1]), dict) or _parse_or_none(lines[0]) is not None
    ):
        return False
    if lines[0].startswith(b"["):
        return True
    head.append(stream.read(max(LONGEST - sum(map(len, head)), 0)))
    start = b"".join(head)
    goes_on, alone = len(start) >= LONGEST, len(lines) == 1
    rows = 0
    try:
        for _ in cut_document(io.BytesIO(start), LONGEST):
            rows += 1
    except NoRows as error:
        if alone:
            return False
        raise _without_rows(file, error) from error
    except BrokenDocument as error:
        if goes_on:
            return rows > 0
        if alone or lines[0] != b"{":
            return False
        raise _broken(file, error.line, error.problem) from error
    return True


def _document_records(file: PoolFile, stream: IO[bytes]) -> Iterator[Record]:
    try:
        for position, element in enumerate(cut_document(stream, LONGEST), start=1):
            if element.too_long:
                yield Record(position, element.raw[:BEGINNING], too_long=True)
                continue
            try:
                yield Record(position, element.raw, parse_json(element.raw), parsed=True)
            except JsonLimit:
                yield Record(position, element.raw)
            except orjson.JSONDecodeError as error:
                raise _broken(file, element.line + error.lineno - 1, error.msg) from error
    except NoRows as error:
        raise _without_rows(file, error) from error
    except BrokenDocument as error:
        raise _broken(file, error.line, error.problem) from error


def _broken(file: PoolFile, line: int, problem: str) -> UserError:
    return UserError(
        f"{file.url}:{line}: the JSON document is broken ({problem}); "
        "mend it or convert it to JSON Lines, where one bad line costs one row"
    )


def _without_rows(file: PoolFile, fault: NoRows) -> UserError:
    return UserError(
        f"{file.url}: the JSON object holds no single list of rows under one of "
        f"{', '.join(LIST_KEYS)}; its keys are {fault}"
    )


def _parse_or_none(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _line_records(file: PoolFile, stream: IO[bytes]) -> Iterator[Record]:
    position, ended = 0, True
    for piece in _pieces(stream):
        if ended:
            position += 1
            if len(piece) > LONGEST:
                yield Record(position, piece[:BEGINNING], too_long=True)
            elif piece.strip():
                yield Record(position, piece.rstrip(b"\r\n"))
        ended = piece.endswith(b"\n")
