"""What records become: rows, or rejects that say why not."""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
import orjson
import pyarrow as pa

from curate.core.arrowarrays import Numbers, number_array
from curate.core.jsontext import JsonLimit, dump_json
from curate.core.reasons import Reason
from curate.core.rows import SCHEMA, Message, find_fault
from curate.pool.containers.jsonvalue import (
    has_repeated_key,
    is_not_finite,
    parse_record,
    repeated_key,
)
from curate.pool.containers.lines import LineBlock
from curate.pool.entries import Leaves
from curate.pool.layouts import Conversation, ParsedRecord, RecordFault, RecordReader
from curate.pool.layouts.plain import PlainReader, PlainRecord
from curate.pool.layouts.plainlines import PlainLineReader
from curate.pool.records import BEGINNING, LONGEST, Record
from curate.pool.rowcolumns import PlainRow, SourceRow, lines_table, plain_table, rows_table

RAW_CHARS = 2_000
# Lines of more bytes, of which one is very long, take many times their memory together if they are
# full of escapes.
MOST_TOGETHER = 4 * 2**20
REJECTS_SCHEMA = pa.schema(
    [
        ("source", pa.string()),
        ("file", pa.string()),
        ("position", pa.int64()),
        ("reason", pa.string()),
        ("field", pa.string()),
        ("raw", pa.string()),
    ]
)
Reject = dict[str, Any]


@dataclass
class RecordBatch:
    """What some records of a file became.

    rows: as curate.core.rows.SCHEMA has them.
    layouts: how many records are in which layout, with the fields that tell it.
    empty: the file has no record at all.
    repeated: where records are that have a key twice.
    left: how many rows are read elsewhere, with a response or without.
    """

    file: str
    rows: pa.Table
    rejects: list[Reject]
    layouts: Counter[tuple[str, tuple[str, ...]]]
    empty: bool
    repeated: list[str]
    left: int = 0


@dataclass(frozen=True)
class FileReader:
    """What the records of a file are read by: settings of its entry, and what its first records say.

    reader: reads a record's value; None if the file has no record with one.
    leaves: rows that are read elsewhere, and are no rows here; rejects are those of the answered ones.
    """

    source: str
    file: str
    strip_end: str | None
    prompts: bool
    reader: RecordReader | None
    leaves: Leaves | None = None

    def read(self, records: LineBlock | Sequence[Record], *, empty: bool = False) -> RecordBatch:
        """Return what records become."""
        rows = _RowsOfRecords(self)
        if isinstance(records, LineBlock):
            rows.add_lines(records)
        else:
            rows.add_all(records)
        return RecordBatch(
            self.file,
            rows.table(),
            [] if self.leaves == "answered" else rows.rejects,
            rows.layouts,
            empty,
            rows.repeated,
            rows.left,
        )

    @cached_property
    def plain(self) -> PlainReader | None:
        """Return what reads records of plain texts; None if a text is not taken as it is."""
        return PlainReader(self.reader) if self.reader and not self.strip_end else None

    @cached_property
    def plain_lines(self) -> PlainLineReader | None:
        """Return what reads lines of plain texts; None if some of them are not read here."""
        return PlainLineReader(self.plain) if self.plain and not self.leaves else None

    def row_id(self, record: Record) -> str:
        """Return the id of a record's first row."""
        return row_id(self.source, self.file, record)


def row_id(source: str, file: str, record: Record) -> str:
    """Return the id of the first row of a record in a file of this name."""
    return f"{source}/{record.file_name(file)}:{record.position}"


@dataclass
class _RowsOfRecords:
    """Rows and rejects of some records.

    lines: rows of lines of plain texts, with the numbers of these.
    rows: with the numbers of their records; of records of plain texts in a list of their own.
    """

    by: FileReader
    lines: list[tuple[Numbers, pa.Table]] = field(default_factory=list)
    rows: list[tuple[int, SourceRow]] = field(default_factory=list)
    plain_rows: list[tuple[int, PlainRow]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)
    layouts: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    repeated: list[str] = field(default_factory=list)
    left: int = 0

    def add_lines(self, block: LineBlock) -> None:
        """Add what lines become: first those of plain texts, which are most."""
        reader = self.by.plain_lines if len(block.data) <= MOST_TOGETHER else None
        for lines in reader.read(block.data) if reader else ():
            self.layouts[lines.layout, lines.fields] += len(lines.numbers)
            self.lines.append(
                (lines.numbers, lines_table(lines, block, self.by.source, self.by.file))
            )
        read = {*chain.from_iterable(numbers.tolist() for numbers, _ in self.lines)}
        others = [*block.records(without=read)]
        self.add_all(others, [record.position - block.first for record in others])

    def add_all(self, records: Sequence[Record], numbers: Sequence[int] | None = None) -> None:
        """Add what records become, in their order, which their numbers tell."""
        plain = self.by.plain
        numbers = range(len(records)) if numbers is None else numbers
        values = [_quick_value(record) for record in records] if plain else []
        read = plain.read(values) if plain else [None] * len(records)
        for number, record, row in zip(numbers, records, read, strict=True):
            if row is None:
                self._add_parsed(number, record)
            else:
                self._add_plain(number, record, row)
        written = [n for n, row in enumerate(read) if row is not None and records[n].raw]
        self._note_repeated_keys([(records[n], values[n]) for n in written])

    def table(self) -> pa.Table:
        """Return the rows in the order of their records."""
        parts = [*self.lines]
        if self.plain_rows:
            numbers, plain_rows = zip(*self.plain_rows, strict=True)
            parts.append((np.array(numbers), plain_table(plain_rows, self.by.source)))
        if self.rows:
            numbers, rows = zip(*self.rows, strict=True)
            parts.append((np.array(numbers), rows_table(rows, self.by.source)))
        if not parts:
            return SCHEMA.empty_table()
        table = pa.concat_tables([table for _, table in parts])
        order = np.argsort(np.concatenate([numbers for numbers, _ in parts]), kind="stable")
        is_sorted = np.array_equal(order, np.arange(len(order)))
        return table if is_sorted else table.take(number_array(order)).combine_chunks()

    def _add_plain(self, number: int, record: Record, row: PlainRecord) -> None:
        self.layouts[row.layout, row.fields] += 1
        if self.by.leaves == "answered":
            self.left += 1
            return
        file = record.file_name(self.by.file)
        row_id, origin = (
            f"{self.by.source}/{file}:{record.position}",
            row.origin or file.split(".")[0],
        )
        self.plain_rows.append((number, PlainRow(row_id, row.turns, origin, row.meta)))

    def _add_parsed(self, number: int, record: Record) -> None:
        file = record.file_name(self.by.file)
        try:
            parsed = self._parsed(record, file)
        except RecordFault as fault:
            self.rejects.append(_reject(fault, record, self.by.source, file))
            return
        self.layouts[parsed.layout, parsed.fields] += 1
        for row_id, conversation in _named(self.by.row_id(record), parsed):
            try:
                self._add_row(number, _row_of(conversation, row_id, self.by, file))
            except RecordFault as fault:
                self.rejects.append(_reject(fault, record, self.by.source, file))

    def _add_row(self, number: int, row: SourceRow) -> None:
        """Add a row, unless rows of its kind are read elsewhere."""
        answered = row.messages[-1]["role"] == "assistant"
        if self.by.leaves == ("answered" if answered else "unanswered"):
            self.left += 1
        else:
            self.rows.append((number, row))

    def _parsed(self, record: Record, file: str) -> ParsedRecord:
        value = value_of(record)
        assert self.by.reader is not None, "a record with a value has a reader"
        if record.raw and isinstance(value, dict):
            self._note_repeated_key(record, value)
        return self.by.reader.read(value)

    def _note_repeated_keys(self, written: Sequence[tuple[Record, Any]]) -> None:
        """Note which of several records have a key twice in what their values were parsed from."""
        if has_repeated_key([record.raw for record, _ in written], [value for _, value in written]):
            for record, value in written:
                self._note_repeated_key(record, value)

    def _note_repeated_key(self, record: Record, value: Any) -> None:
        if key := repeated_key(record.raw, value):
            file = record.file_name(self.by.file)
            self.repeated.append(f"{file}:{record.position} ({key!r:.80})")


def _quick_value(record: Record) -> Any:
    """Return a record's value, long integers as floats; None where there may be none."""
    if record.fault or record.too_long:
        return None
    try:
        return record.value if record.parsed else orjson.loads(record.raw)
    except orjson.JSONDecodeError:
        return None


def value_of(record: Record) -> Any:
    """Return a record's value.

    Raises:
        RecordFault: it has none: it is no JSON, too long or nested too deeply.
    """
    if record.fault:
        raise RecordFault(*record.fault)
    if record.parsed:
        return record.value
    if record.too_long:
        raise RecordFault(Reason.RECORD_TOO_LONG, f"more than {LONGEST:,} bytes")
    try:
        return parse_record(record.raw)
    except JsonLimit as error:
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, str(error)) from error
    except orjson.JSONDecodeError as error:
        try:
            record.raw.decode()
        except UnicodeDecodeError as bad:
            raise RecordFault(Reason.BAD_UTF8, f"byte {bad.start}") from error
        raise RecordFault(Reason.BAD_JSON, f"column {error.colno}: {error.msg}") from error


def _named(row_id: str, parsed: ParsedRecord) -> Iterator[tuple[str, Conversation]]:
    """Yield the conversations of a record with their ids: from the second on with #2, #3 ..."""
    for i, conversation in enumerate(parsed.conversations, start=1):
        yield (row_id if i == 1 else f"{row_id}#{i}"), conversation


def _reject(fault: RecordFault, record: Record, source: str, file: str) -> Reject:
    return {
        "source": source,
        "file": file,
        "position": record.position,
        "reason": fault.reason.value,
        "field": _explain(fault, record),
        "raw": _excerpt(record),
    }


def _explain(fault: RecordFault, record: Record) -> str:
    """Return the field at fault, and that it is missing for being NaN."""
    if fault.reason is Reason.MISSING_FIELD and is_not_finite(
        record.raw, record.value, fault.field
    ):
        return f"{fault.field}: NaN and Infinity are read as null"
    return fault.field


def _excerpt(record: Record) -> str:
    """Return the first characters of a record."""
    if record.parsed:
        with suppress(JsonLimit):
            return dump_json(record.value)[:RAW_CHARS]
    return record.raw[:BEGINNING].decode(errors="replace")[:RAW_CHARS]


def _meta(value: Any) -> str:
    """Return upstream fields as JSON.

    Raises:
        RecordFault: they are nested too deeply.
    """
    try:
        return dump_json(value)
    except JsonLimit as error:
        raise RecordFault(Reason.UNSUPPORTED_CONTENT, str(error)) from error


def _row_of(conversation: Conversation, row_id: str, by: FileReader, file: str) -> SourceRow:
    if conversation.fault or conversation.example is None:
        raise conversation.fault or RecordFault(Reason.MISSING_FIELD, "messages")
    messages = conversation.example.turns
    if by.strip_end:
        last = messages[-1]
        last["content"] = last["content"].removesuffix(by.strip_end)
    if by.leaves and messages and _is_empty_answer(messages[-1]):
        messages = messages[:-1]
    fault = find_fault(messages)
    if fault and not (by.prompts and fault[0] is Reason.LAST_TURN_NOT_ASSISTANT):
        raise RecordFault(*fault)
    tools = conversation.example.tools
    return SourceRow(
        row_id,
        messages,
        tools,
        conversation.example.rejected,
        conversation.origin or file.split(".")[0],
        _meta(conversation.meta),
    )


def _is_empty_answer(message: Message) -> bool:
    empty = not message["content"].strip() and not message.get("tool_calls")
    return message["role"] == "assistant" and empty
