"""CSV and TSV: a record a row below the header, all values text."""

import csv
from collections import Counter
from collections.abc import Iterator
from typing import IO

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.pool.containers.record import Record

DELIMITERS = ("\t", ",", ";")
LONGEST_NAME = 100
# Columns that may be a table by themselves; other lines of one word are no header.
ALONE = frozenset(
    {
        "text",
        "messages",
        "conversations",
        "conversation",
        "prompt",
        "instruction",
        "question",
        "query",
    }
)
# The lines of a row are bounded before they come to the parser, whose own limit, 128 KiB, is too low.
csv.field_size_limit(2**31 - 1)


def find_delimiter(first: bytes) -> str | None:
    """Return what parts the names in a table's header; None if the line is no header."""
    try:
        line = first.decode()
    except UnicodeDecodeError:
        # A table all the same, whose encoding is told when it is read.
        line = first.decode("latin-1")
    if line.lstrip().startswith(("{", "[")):
        return None
    parts = {delimiter: _cells(line, delimiter) for delimiter in DELIMITERS}
    best = max(DELIMITERS, key=lambda delimiter: len(parts[delimiter]))
    names = parts[best]
    if len(names) == 1 and names[0].strip() in ALONE:
        return ","
    fits = len(names) > 1 and all(len(name) <= LONGEST_NAME for name in names)
    return best if fits and any(name.strip() for name in names) else None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True), [])
    except csv.Error:
        return []


class RowLines:
    """The lines of a table, decoded one by one, with those of the row that is being read."""

    def __init__(self, place: str, stream: IO[bytes], longest: int) -> None:
        self._place, self._stream, self._longest = place, stream, longest
        self.line, self.row, self.size = 0, 1, 0
        self.raw: list[bytes] = []

    def start_row(self) -> None:
        """Forget the lines of the row before."""
        self.row, self.size, self.raw = self.line + 1, 0, []

    def __iter__(self) -> Iterator[str]:
        """Yield the lines.

        Raises:
            UserError: one is no UTF-8, or a row takes up too many bytes.
        """
        while line := self._stream.readline(self._longest + 1):
            self.line += 1
            self.size += len(line)
            self.raw.append(line)
            if self.size > self._longest:
                raise UserError(
                    f"{self._place}:{self.row}: the row of the table has more than "
                    f"{self._longest:,} bytes; is a quotation mark not closed there?"
                )
            try:
                yield line.decode()
            except UnicodeDecodeError as error:
                raise UserError(
                    f"{self._place}:{self.line}: the table is not UTF-8 (byte 0x"
                    f"{line[error.start]:02x} at column {error.start + 1}); convert it, e.g. "
                    "iconv -f windows-1252 -t utf-8"
                ) from error


def read_table(place: str, stream: IO[bytes], longest: int, delimiter: str) -> Iterator[Record]:
    """Yield the rows below the header, by the line that each starts in; a bad row is a record's fault.

    Raises:
        UserError: the table is not UTF-8, two columns have one name, or a quotation mark is not closed.
    """
    lines = RowLines(place, stream, longest)
    rows = csv.reader(lines, delimiter=delimiter, strict=True)
    names: list[str] | None = None
    while True:
        lines.start_row()
        try:
            cells = next(rows, None)
        except csv.Error as error:
            if "unexpected end" in str(error):
                raise UserError(
                    f"{place}:{lines.row}: a quotation mark in this row of the table is never closed"
                ) from error
            fault = (Reason.BAD_TABLE_ROW, f"{error}; lines {lines.row} to {lines.line}")
            yield Record(lines.row, b"".join(lines.raw), fault=fault)
            continue
        if cells is None:
            return
        blank = len(cells) == 1 and not cells[0].strip()
        if not cells or (blank and (names is None or len(names) > 1)):
            continue
        if names is None:
            names = _header(place, cells)
        elif len(cells) != len(names):
            fault = (Reason.BAD_TABLE_ROW, f"{len(cells)} cells below a header of {len(names)}")
            yield Record(lines.row, b"".join(lines.raw), fault=fault)
        else:
            value = dict(zip(names, cells, strict=True))
            yield Record(lines.row, value=value, parsed=True, size=lines.size)


def _header(place: str, cells: list[str]) -> list[str]:
    """Return the names of the columns; one without a name gets its number."""
    names = [name.strip() or f"column {i}" for i, name in enumerate(cells, start=1)]
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UserError(
            f"{place}:1: two columns of the table have the name {twice[0]!r}; rename one"
        )
    return names
