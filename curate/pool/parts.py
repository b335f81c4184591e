"""Parts of files: some records each, cut by their bytes: how many processes read changes nothing."""

import hashlib
import heapq
from collections.abc import Iterator, Sequence
from copy import copy
from dataclasses import dataclass, replace
from itertools import chain, islice

from curate.core.errors import UserError
from curate.pool.classlabels import class_labels
from curate.pool.entries import EntryIdentity
from curate.pool.files import PoolFile
from curate.pool.layouts import RecordFault, RecordReader, file_reader
from curate.pool.recordrows import FileReader, RecordBatch, value_of
from curate.pool.records import LONGEST, Record, read_records

DETECT_ROWS = 100
PART_ROWS = 10_000
PART_BYTES = 2 * 2**20


@dataclass(frozen=True)
class FilePart:
    """Some records of a file, and what they are read by; it pickles.

    empty: the file has no record at all.
    """

    reader: FileReader
    records: Sequence[Record]
    empty: bool = False

    def read(self) -> RecordBatch:
        """Return what the records become."""
        return self.reader.read(self.records, empty=self.empty)


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
    files = [PoolFile(url, **file) for url, file in zip(urls, entry["files"], strict=True)]
    sample = _sample(entry, files, seed) if entry["sample"] is not None else None
    for file in files:
        yield from _file_parts(file, entry, sample)


def _file_parts(
    file: PoolFile, entry: EntryIdentity, sample: frozenset[str] | None
) -> Iterator[FilePart]:
    records = read_records(file)
    head = list(_head(records))
    reader = _reader_of(entry, head, file)
    if reader is None and head and not any(record.too_long or record.fault for record in head):
        raise UserError(f"{file.url}: holds no record that is valid JSON ({_fault_of(head[0])})")
    by = _file_reader(entry, file, reader)
    chosen: list[Record] = []
    size, first = 0, True
    for record in chain(head, records):
        if sample is not None and by.row_id(record) not in sample:
            continue
        if by.reader is None:
            by = replace(by, reader=_reader_of(entry, [record], file))
        chosen.append(record)
        size += record.size or len(record.raw)
        if size >= PART_BYTES or len(chosen) >= PART_ROWS:
            yield FilePart(by, chosen)
            chosen, size, first = [], 0, False
    if chosen or first:
        yield FilePart(by, chosen, empty=not head)


def _file_reader(entry: EntryIdentity, file: PoolFile, reader: RecordReader | None) -> FileReader:
    prompts = entry.get("prompts", False)
    return FileReader(entry["source"], file.name, entry["strip_end"], prompts, reader)


def _fault_of(record: Record) -> str:
    """Return why a record is not read, and where."""
    try:
        value_of(record)
    except RecordFault as fault:
        return f"{fault.reason}, {record.position}: {fault.field}"
    return "it is none"


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

    readers = ((file, _file_reader(entry, file, None)) for file in files)
    ids = (by.row_id(record) for file, by in readers for record in read_records(file))
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
    return file_reader(values, entry["fields"], file.url, prompts=prompts, template=template)
