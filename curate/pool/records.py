"""Read the records of a pool file, one at a time, with their positions, in bounded memory.

What a file is gets decided by its content, never by its name: containers by their magic bytes, a JSON
document or a table by its first two lines. See `curate.pool.containers`.
"""

import codecs
import io
from collections.abc import Iterator
from dataclasses import replace
from typing import IO, Any

import orjson

from curate.core.errors import UserError
from curate.core.localfiles import changed
from curate.pool.containers.archive import read_archive
from curate.pool.containers.arrow import arrow_faults, read_arrow, read_row_groups
from curate.pool.containers.document import (
    DocumentForm,
    check_columns,
    find_form,
    read_columns,
    read_elements,
)
from curate.pool.containers.encoding import Utf8Reader
from curate.pool.containers.footer import Footer, read_footer
from curate.pool.containers.lines import LineBlock, pieces, read_lines
from curate.pool.containers.magic import HEAD, Kind, check_supported, find_kind
from curate.pool.containers.record import BEGINNING, Record
from curate.pool.containers.table import find_delimiter, read_table
from curate.pool.containers.unpack import unpacked
from curate.pool.files import BLOCK, PoolFile, is_read, open_checked, read_anywhere

__all__ = [
    "BEGINNING",
    "BOM",
    "JSON_LINES",
    "LONGEST",
    "Record",
    "describe_container",
    "read_blocks",
    "read_group_range",
    "read_line_range",
    "read_records",
]

BOM = codecs.BOM_UTF8
PEEKED_LINES = 2
# Bytes of a record, its line end included: longer ones become rejects. Whatever expands to more than
# this, a gzip bomb for one, passes through without ever being held.
LONGEST = 64 * 2**20
PACKED = (Kind.GZIP, Kind.ZSTD, Kind.BZ2, Kind.XZ)
JSON_LINES = "JSON Lines"
TEXT_NAMES = {
    DocumentForm.LINES: JSON_LINES,
    DocumentForm.ELEMENTS: "a JSON document",
    DocumentForm.COLUMNS: "JSON by columns",
    DocumentForm.RECORD: "a JSON object",
}


def read_records(file: PoolFile) -> Iterator[Record]:
    """Yield the file's records in order; blank lines are no records.

    Raises:
        UserError: as read_blocks.
    """
    for block in read_blocks(file):
        if isinstance(block, Record):
            yield block
        else:
            yield from block.records()


def read_blocks(file: PoolFile) -> Iterator[LineBlock | Record]:
    """Yield what a file holds in order: blocks of lines where it is JSON Lines, else its records.

    Raises:
        UserError: the file is a JSON document in which no list of rows was found, is cut off, damaged,
            in a format or encoding that is not read, cannot be read, or is not the one that it was
            when it was found.
    """
    with open_checked(file) as stream:
        kind = _kind_of(file.url, stream)
        if kind is Kind.ZIP:
            for name, member in read_archive(file.url, read_anywhere(stream), is_read):
                place = f"{file.url}/{name}"
                for block in _read(place, member, file.split, within="a zip archive"):
                    yield block._replace(part=name)
        elif kind in (Kind.PARQUET, Kind.ARROW_FILE):
            _refuse_split(file.url, file.split)
            yield from read_arrow(file.url, kind, read_anywhere(stream))
        else:
            yield from _read(file.url, stream, file.split)


def read_line_range(
    file: PoolFile, start: int, size: int, first: int
) -> Iterator[LineBlock | Record]:
    """Yield the blocks of lines of so many bytes of a file of JSON Lines.

    Args:
        file: with the digest of these bytes.
        start: of the bytes, where a line starts.
        size: how many bytes.
        first: number of the first line.

    Raises:
        UserError: the file cannot be read, or these bytes are not what they were.
    """
    with open_checked(file, start, size) as stream:
        if not start and stream.peek(len(BOM)).startswith(BOM):
            stream.read(len(BOM))
        yield from read_lines(stream, LONGEST, first)


def read_group_range(file: PoolFile, groups: range, first: int, about: str) -> Iterator[Record]:
    """Yield the rows of some row groups of a Parquet file.

    Args:
        file: with the digest of the bytes from the first of them to what follows the last one.
        groups: their numbers, from 0.
        first: number of their first row.
        about: digest of what the footer says of them.

    Raises:
        UserError: the file cannot be read, is damaged, or what is read of it is not what it was.
    """
    footer = _footer_of(file, groups, about)
    starts = footer.starts()
    start, end = starts[groups.start], starts[groups.stop]
    with open_checked(file, start, end - start) as stream:
        handle = read_anywhere(stream)
        yield from read_row_groups(file.url, handle, footer.metadata, groups, first)
    # Also names of labels are read from the footer.
    _footer_of(file, groups, about)


def _footer_of(file: PoolFile, groups: range, about: str) -> Footer:
    """Return a file's footer.

    Raises:
        UserError: it says something else of these row groups than it did.
    """
    with (
        open_checked(replace(file, digest=None)) as stream,
        arrow_faults(file.url, Kind.PARQUET),
    ):
        footer = read_footer(read_anywhere(stream))
        same = groups.stop < len(footer.starts()) and about == footer.digest(groups)
    if not same:
        raise changed(file.url)
    return footer


def _kind_of(place: str, stream: "io.BufferedReader[Any]") -> Kind:
    head = stream.peek(HEAD)[:HEAD]
    check_supported(place, head)
    return find_kind(head)


def _read(
    place: str, stream: "io.BufferedReader[Any]", split: str | None, within: str = ""
) -> Iterator[LineBlock | Record]:
    """Yield the records of what can be read from its start to its end."""
    kind = _kind_of(place, stream)
    if kind in PACKED and not within.startswith("packed"):
        with unpacked(place, kind, stream) as inner:
            yield from _read(place, inner, split, within=f"packed as {kind}")
    elif kind in (*PACKED, Kind.ZIP, Kind.PARQUET, Kind.ARROW_FILE):
        raise UserError(f"{place}: the file is {kind} within {within}; unpack it first")
    elif kind is Kind.ARROW_STREAM:
        _refuse_split(place, split)
        yield from read_arrow(place, kind, stream)
    else:
        text = Utf8Reader(place, stream) if kind is Kind.UTF_16 else stream
        yield from _read_text(place, io.BufferedReader(text, BLOCK), split)


def _read_text(place: str, stream: IO[bytes], split: str | None) -> Iterator[LineBlock | Record]:
    form, delimiter, text = _text_form(place, stream, split)
    if form is DocumentForm.ELEMENTS:
        yield from read_elements(place, text, LONGEST, split)
        return
    _refuse_split(place, split)
    if form is DocumentForm.COLUMNS:
        document = text.read()
        check_columns(place, document)
        for position, row in enumerate(read_columns(document) or [], start=1):
            yield Record(position, value=row, parsed=True)
    elif form is DocumentForm.RECORD:
        yield Record(1, text.read().strip())
    elif delimiter:
        yield from read_table(place, text, LONGEST, delimiter)
    else:
        yield from read_lines(text, LONGEST)


def _text_form(
    place: str, stream: IO[bytes], split: str | None
) -> tuple[DocumentForm, str | None, "io.BufferedReader[Any]"]:
    """Return how a text holds its records, what separates the cells of a table, and the text."""
    head = _read_head(place, stream)
    lines = [piece.strip() for piece in head if piece.strip()]
    delimiter = None
    if lines and not _is_object(lines[-1]) and len(head[-1]) <= LONGEST:
        delimiter = find_delimiter(lines[0])
    form = find_form(place, head, stream, LONGEST, split)
    return form, delimiter, io.BufferedReader(JoinedStream(b"".join(head), stream), BLOCK)


def describe_container(file: PoolFile) -> str:
    """Return what holds a file's records, in words: JSON Lines in gzip, Parquet, CSV ...

    Raises:
        UserError: as read_records, of the beginning of the file.
    """
    with open_checked(replace(file, digest=None)) as stream:
        return _describe(file, stream)


def _describe(file: PoolFile, stream: "io.BufferedReader[Any]") -> str:
    if not stream.peek(1):
        return "an empty file"
    kind = _kind_of(file.url, stream)
    if kind in PACKED:
        with unpacked(file.url, kind, stream) as inner:
            return f"{_describe(file, inner)} in {kind}"
    if kind not in (Kind.TEXT, Kind.UTF_16):
        return str(kind)
    text = Utf8Reader(file.url, stream) if kind is Kind.UTF_16 else stream
    form, delimiter, _ = _text_form(file.url, io.BufferedReader(text, BLOCK), file.split)
    name = TEXT_NAMES[form]
    if form is DocumentForm.LINES and delimiter:
        name = "TSV" if delimiter == "\t" else "CSV"
    return f"{name} in UTF-16" if kind is Kind.UTF_16 else name


def _refuse_split(place: str, split: str | None) -> None:
    if split:
        raise UserError(f"{place}: the file has no splits; leave out `split: {split}`")


class JoinedStream(io.RawIOBase):
    """A stream with what was read from it put back in front."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head, self._rest = io.BytesIO(head), rest

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read bytes of the head, then of the rest."""
        return self._head.readinto(buffer) or self._rest.readinto(buffer)  # type: ignore


def _read_head(place: str, stream: IO[bytes]) -> list[bytes]:
    """Return the pieces up to the second line that is not blank, without a byte order mark.

    Raises:
        UserError: they are no lines.
    """
    head: list[bytes] = []
    filled = 0
    for piece in pieces(stream, LONGEST):
        head.append(piece if head else piece.removeprefix(BOM))
        filled += bool(head[-1].strip())
        if filled == PEEKED_LINES or len(piece) > LONGEST:
            break
    first = next((piece.strip() for piece in head if piece.strip()), b"")
    opening, returned, _ = first.partition(b"\r")
    if returned and (_is_object(opening) or find_delimiter(opening)):
        raise UserError(
            f"{place}: the lines end in a carriage return alone; convert them, e.g. tr '\\r' '\\n'"
        )
    return head


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(orjson.loads(line), dict)
    except orjson.JSONDecodeError:
        return False
