"""Parts of files: some records each, cut by their bytes: how many processes read changes nothing."""

import hashlib
import heapq
from collections.abc import Iterable, Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import chain, islice

from curate.core.errors import UserError
from curate.core.jsontext import dump_json
from curate.core.localfiles import changed
from curate.pool.classlabels import class_labels
from curate.pool.containers.lines import LineBlock
from curate.pool.entries import EntryIdentity, files_of
from curate.pool.files import PoolFile
from curate.pool.layouts import RecordFault, RecordReader, file_reader
from curate.pool.recordrows import FileReader, RecordBatch, row_id, value_of
from curate.pool.records import (
    LONGEST,
    Record,
    read_blocks,
    read_group_range,
    read_line_range,
    read_records,
)

DETECT_ROWS = 100
PART_ROWS = 10_000
PART_BYTES = 2 * 2**20


@dataclass(frozen=True)
class ReaderSource:
    """What the reader of a file follows from: settings of its entry, and some records of it."""

    entry: EntryIdentity
    file: PoolFile
    head: Sequence[Record]

    @cached_property
    def reader(self) -> FileReader:
        """Return the reader.

        Raises:
            UserError: the records are in no known layout.
        """
        entry, reader = self.entry, _reader_of(self.entry, self.head, self.file)
        prompts = entry.get("prompts", False)
        name, end, leaves = self.file.name, entry["strip_end"], entry.get("leaves")
        return FileReader(entry["source"], name, end, prompts, reader, leaves)


@dataclass(frozen=True)
class FilePart:
    """Some records of a file, and what their reader follows from.

    empty: the file has no record at all.
    """

    source: ReaderSource
    records: LineBlock | Sequence[Record]
    empty: bool = False

    def read(self) -> RecordBatch:
        """Return what the records become."""
        return self.source.reader.read(self.records, empty=self.empty)


def entry_parts(entry: EntryIdentity, urls: Sequence[str], seed: int) -> Iterator[FilePart]:
    """Yield the parts of an entry's files, in their order; of each file at least one.

    Args:
        entry: its part of the step's parameters.
        urls: of its files.
        seed: of its sample.

    Raises:
        UserError: a file's format is unknown, its records are in no known layout, or it is not the one
            that the key speaks of.
    """
    files = files_of(entry, urls)
    sample = _sample(entry, files, seed) if entry["sample"] is not None else None
    for file, identity in zip(files, entry["files"], strict=True):
        if "lines" in identity:
            lines = identity["lines"]
            blocks = read_line_range(file, lines["start"], lines["bytes"], lines["first"])
            yield from _range_parts(file, entry, lines["head"], blocks)
        elif "groups" in identity:
            groups = identity["groups"]
            numbers = range(groups["group"], groups["group"] + groups["count"])
            rows = read_group_range(file, numbers, groups["first"], groups["footer"])
            yield from _range_parts(file, entry, groups["head"], rows)
        else:
            yield from _file_parts(file, entry, sample)


def head_of(file: PoolFile) -> list[Record]:
    """Return the first records of a file, by which its usual layout is told.

    Raises:
        UserError: they cannot be read.
    """
    return list(_head(_records(_first_blocks(read_blocks(replace(file, digest=None))))))


def head_digest(head: Sequence[Record]) -> str:
    """Return 32 hex digits that identify the first records of a file of JSON Lines or of Parquet.

    Raises:
        JsonLimit: a value is nested too deeply.
    """
    digest = hashlib.blake2b(digest_size=16)
    for record in head:
        text = dump_json([record.value, record.fault]).encode() if record.parsed else record.raw
        digest.update(b"%d %d " % (record.position, len(text)))
        digest.update(text)
    return digest.hexdigest()


def is_settled(entry: EntryIdentity, file: PoolFile, head: Sequence[Record]) -> bool:
    """Return whether the first records alone tell how a file is read, however it goes on."""
    full = len(head) == DETECT_ROWS or sum(len(record.raw) for record in head) > LONGEST
    return full and ReaderSource(entry, file, head).reader.reader is not None


def _range_parts(
    file: PoolFile, entry: EntryIdentity, head_hex: str, blocks: Iterator[LineBlock | Record]
) -> Iterator[FilePart]:
    head = head_of(file)
    if head_digest(head) != head_hex:
        raise changed(file.url)
    return _parts(ReaderSource(entry, file, head), blocks)


def _file_parts(
    file: PoolFile, entry: EntryIdentity, sample: frozenset[str] | None
) -> Iterator[FilePart]:
    blocks = read_blocks(file)
    first = list(_first_blocks(blocks))
    head = list(_head(_records(first)))
    source = ReaderSource(entry, file, head)
    has_reader = source.reader.reader is not None
    if head and not has_reader and not any(record.too_long or record.fault for record in head):
        raise UserError(f"{file.url}: holds no record that is valid JSON ({_fault_of(head[0])})")
    all_blocks: Iterator[LineBlock | Record] = chain(first, blocks)
    if sample is not None:
        all_blocks = _sampled(source, _records(all_blocks), sample)
    read = _parts if has_reader else _parts_of_unread
    parts = read(source, all_blocks)
    yield next(parts, FilePart(source, [], empty=not head))
    yield from parts


def _parts(source: ReaderSource, blocks: Iterator[LineBlock | Record]) -> Iterator[FilePart]:
    """Yield blocks of lines as parts, and other records put together to parts."""
    chosen: list[Record] = []
    size = 0
    for block in blocks:
        lines = isinstance(block, LineBlock)
        if chosen and (lines or size >= PART_BYTES or len(chosen) >= PART_ROWS):
            yield FilePart(source, chosen)
            chosen, size = [], 0
        if isinstance(block, LineBlock):
            yield FilePart(source, block)
        else:
            chosen.append(block)
            size += block.size or len(block.raw)
    if chosen:
        yield FilePart(source, chosen)


def _parts_of_unread(
    source: ReaderSource, blocks: Iterator[LineBlock | Record]
) -> Iterator[FilePart]:
    """Yield the parts of a file whose first records have no value: the first one that has tells more."""
    unread: list[Record] = []
    records = _records(blocks)
    for record in records:
        later = replace(source, head=[record])
        if later.reader.reader is not None:
            yield from _parts(later, chain(unread, [record], records))
            return
        unread.append(record)
    yield from _parts(source, iter(unread))


def _records(blocks: Iterable[LineBlock | Record]) -> Iterator[Record]:
    for block in blocks:
        if isinstance(block, LineBlock):
            yield from block.records()
        else:
            yield block


def _sampled(
    source: ReaderSource, records: Iterator[Record], sample: frozenset[str]
) -> Iterator[Record]:
    name, file = source.entry["source"], source.file.name
    return (record for record in records if row_id(name, file, record) in sample)


def _fault_of(record: Record) -> str:
    """Return why a record is not read, and where."""
    try:
        value_of(record)
    except RecordFault as fault:
        return f"{fault.reason}, {record.position}: {fault.field}"
    return "it is none"


def _first_blocks(blocks: Iterator[LineBlock | Record]) -> Iterator[LineBlock | Record]:
    """Yield blocks up to the last record of the head."""
    count = size = 0
    for block in blocks:
        yield block
        records = list(_records([block]))
        count += len(records)
        size += sum(len(record.raw) for record in records)
        if count >= DETECT_ROWS or size > LONGEST:
            return


def _head(records: Iterator[Record]) -> Iterator[Record]:
    """Yield the records by which a file's usual layout is told."""
    size = 0
    for record in islice(records, DETECT_ROWS):
        yield record
        size += len(record.raw)
        if size > LONGEST:
            return


def _sample(entry: EntryIdentity, files: Sequence[PoolFile], seed: int) -> frozenset[str]:
    """Return the ids of a uniform sample: the records whose seeded hash is smallest."""

    def order(row_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{row_id}".encode(), digest_size=16).digest()

    ids = (
        row_id(entry["source"], file.name, record)
        for file in files
        for record in read_records(file)
    )
    return frozenset(heapq.nsmallest(entry["sample"] or 0, ids, key=order))


def _reader_of(
    entry: EntryIdentity, records: Sequence[Record], file: PoolFile
) -> RecordReader | None:
    """Return what reads such records; None if not one of them is valid JSON."""
    values = []
    for record in records:
        try:
            values.append(value_of(record))
        except RecordFault:
            continue
    template = copy(entry.get("template"))
    if not values and not entry["fields"] and not template:
        return None
    if template:
        template["labels"] = {**class_labels(file), **template["labels"]}
    prompts = entry.get("prompts", False)
    return file_reader(
        values,
        entry["fields"],
        file.url,
        prompts=prompts,
        template=template,
        unanswered="leaves" in entry,
    )
