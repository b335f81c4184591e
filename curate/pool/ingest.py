"""Read the pool's files into rows; what makes no row goes to the rejects, with file, line and reason.

rows.parquet      the rows, in the order of files and positions
rejects.parquet   file, position, reason, field, raw (first 2,000 characters)
"""

import hashlib
import heapq
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from itertools import chain, islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.calls import CachedCall, cached_files
from curate.core.errors import UserError, named_key
from curate.core.jsontext import JsonLimit, dump_json
from curate.core.reasons import EXPLAINED, Reason
from curate.core.rows import SCHEMA, content_hash, find_fault, text_hash
from curate.core.store import Artifact, Counts
from curate.core.tables import scan_table
from curate.pool.classlabels import class_labels
from curate.pool.containers.jsonvalue import is_not_finite, parse_record, repeated_key
from curate.pool.entries import EntryIdentity, PoolEntries, find_entry, identity_of
from curate.pool.files import PoolFile
from curate.pool.layouts import (
    Conversation,
    ParsedRecord,
    RecordFault,
    RecordReader,
    file_reader,
    own_layouts,
)
from curate.pool.records import BEGINNING, LONGEST, Record, read_records
from curate.pool.settings import RowFile

LOG = logging.getLogger("curate")
VERSION = 5
DETECT_ROWS = 100
BATCH_ROWS = 10_000
BATCH_BYTES = 64 * 2**20
RAW_CHARS = 2_000
MAX_LISTED_NAMES, MAX_LISTED_FILES = 5, 50
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


def ingest_call(
    name: str,
    entries: Sequence[RowFile],
    *,
    seed: int,
    max_rejected: float,
    prompts: bool = False,
    keys: Sequence[str] = (),
) -> CachedCall[Artifact]:
    """Return the call that reads entries; its key holds the digest of every file's bytes.

    Args:
        name: of the artifact.
        entries: what is to be read.
        seed: of samples.
        max_rejected: share of records that may make no row.
        prompts: read prompts without an answer as well.
        keys: of the entries in the recipe, for errors; the name if none are given.

    Raises:
        UserError: an entry's path leads to no file, or two entries share a source name.
    """
    sources = Counter(entry.source_name for entry in entries)
    for source, times in sources.items():
        if times > 1:
            raise UserError(
                f"{name}: {times} entries have the source name {source!r}; row ids are made of it, "
                "so give each entry its own `source:`"
            )
    identities: list[EntryIdentity] = []
    urls: list[list[str]] = []
    entry_keys = keys or [name] * len(entries)
    for entry, key in zip(entries, entry_keys, strict=True):
        with named_key(key):
            files, hub = find_entry(entry)
            identities.append(identity_of(entry, files, prompts, seed, hub))
        urls.append([file.url for file in files])
    read = PoolEntries(identities, urls, entry_keys)
    return ingest.call(read, seed, max_rejected, own_layouts()).named(name)


@cached_files(version=VERSION, name="ingest")
def ingest(
    out: Path,
    entries: PoolEntries,
    seed: int,
    max_rejected: float,
    own: Sequence[Sequence[str | int]] | None = None,
) -> Counts:
    """Write rows.parquet and rejects.parquet; return rows_in, rows_out and rejected by reason.

    Files without any record are counted as empty_files, where there are some. `own` are names and
    versions of the layouts that are not the package's, which the key knows.

    Raises:
        UserError: a file's format is unknown, it is not the one that the key speaks of, there is no
            record at all, or more than `max_rejected` of them are bad.
    """
    rejected: Counter[str] = Counter()
    layouts: Counter[str] = Counter()
    rows_out = 0
    empty: list[str] = []
    repeated: list[str] = []
    records: list[int] = []
    with (
        pq.ParquetWriter(out / "rows.parquet", SCHEMA, compression="zstd") as rows,
        pq.ParquetWriter(out / "rejects.parquet", REJECTS_SCHEMA, compression="zstd") as rejects,
    ):
        for entry, urls in zip(entries.identity, entries.urls, strict=True):
            for batch in read_entry(entry, urls, seed):
                if batch.rows:
                    rows.write_table(pa.Table.from_pylist(batch.rows, schema=SCHEMA))
                if batch.rejects:
                    table = pa.Table.from_pylist(batch.rejects, schema=REJECTS_SCHEMA)
                    rejects.write_table(table)
                rows_out += len(batch.rows)
                rejected.update(reject["reason"] for reject in batch.rejects)
                layouts.update(layout for layout, _ in batch.layouts.elements())
                empty += [batch.file] if batch.empty else []
                repeated += batch.repeated
            records.append(rows_out + rejected.total() - sum(records))
    total = rows_out + rejected.total()
    if fault := _no_record(records, entries):
        raise UserError(fault)
    if rejected.total() > max_rejected * total or (entries.identity and not rows_out):
        raise UserError(_too_many(rejected, total, max_rejected, out))
    counts = {"rows_in": total, "rows_out": rows_out, "rejected": dict(sorted(rejected.items()))}
    _log_remarks(empty, repeated, rejected, layouts)
    more = {"empty_files": len(empty), "repeated_keys": len(repeated)}
    return counts | {name: count for name, count in more.items() if count}


def _log_remarks(
    empty: Sequence[str], repeated: Sequence[str], rejected: Counter[str], layouts: Counter[str]
) -> None:
    """Log what is odd about files, and what became of pairs."""
    if empty:
        listed = _listed(empty, MAX_LISTED_FILES)
        LOG.warning("files without any record: %d (%s)", len(empty), listed)
    if too_long := rejected[Reason.RECORD_TOO_LONG]:
        LOG.warning("records of more than %s bytes, rejected: %d", f"{LONGEST:,}", too_long)
    if repeated:
        LOG.warning(
            "records with a key that comes twice, of which the last counts: %d (%s)",
            len(repeated),
            _listed(repeated),
        )
    if pairs := layouts["preference"]:
        LOG.info(
            "preference records: %d; the chosen answer is the row, the other its `rejected`", pairs
        )


@dataclass
class RecordBatch:
    """Rows and rejects of a file, at most so many at a time.

    layouts: how many records are in which layout, with the fields that tell it.
    empty: the file has no record at all.
    repeated: where records are that have a key twice.
    """

    file: str
    rows: list[dict[str, Any]] = field(default_factory=list)
    rejects: list[dict[str, Any]] = field(default_factory=list)
    layouts: Counter[tuple[str, tuple[str, ...]]] = field(default_factory=Counter)
    bytes: int = 0
    empty: bool = False
    repeated: list[str] = field(default_factory=list)

    @property
    def full(self) -> bool:
        """Return whether it is time to write it."""
        return self.bytes >= BATCH_BYTES or len(self.rows) + len(self.rejects) >= BATCH_ROWS


def read_entry(entry: EntryIdentity, urls: Sequence[str], seed: int) -> Iterator[RecordBatch]:
    """Yield the rows and rejects of an entry's files, in their order; of each file at least one batch.

    Args:
        entry: its part of the step's parameters.
        urls: of its files.
        seed: of its sample.

    Raises:
        UserError: as ingest.
    """
    files = [PoolFile(url, **file) for url, file in zip(urls, entry["files"], strict=True)]
    chosen = _sample(entry["source"], files, entry["sample"], seed)
    for file in files:
        yield from _read_file(file, entry, chosen)


def _read_file(
    file: PoolFile, entry: EntryIdentity, chosen: frozenset[str] | None
) -> Iterator[RecordBatch]:
    records = read_records(file)
    head = list(_head(records))
    reader = _reader_of(entry, head, file)
    if reader is None and head and not any(record.too_long or record.fault for record in head):
        raise UserError(f"{file.url}: holds no record that is valid JSON ({_fault_of(head[0])})")
    batch = RecordBatch(file.name, empty=not head)
    for record in chain(head, records):
        row_id = _row_id(entry["source"], file, record)
        if chosen is not None and row_id not in chosen:
            continue
        reader = reader or _reader_of(entry, [record], file)
        _read_record(record, row_id, reader, entry, batch)
        if batch.full:
            yield batch
            batch = RecordBatch(file.name)
    yield batch


def _fault_of(record: Record) -> str:
    """Return why a record is not read, and where."""
    try:
        _parse(record)
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


def _sample(
    source: str, files: Sequence[PoolFile], size: int | None, seed: int
) -> frozenset[str] | None:
    """Return the ids of a uniform sample: the records whose seeded hash is smallest."""
    if size is None:
        return None

    def order(row_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{row_id}".encode(), digest_size=16).digest()

    ids = (_row_id(source, file, record) for file in files for record in read_records(file))
    return frozenset(heapq.nsmallest(size, ids, key=order))


def _row_id(source: str, file: PoolFile, record: Record) -> str:
    return f"{source}/{record.file_name(file.name)}:{record.position}"


def _reader_of(
    entry: EntryIdentity, records: Sequence[Record], file: PoolFile
) -> RecordReader | None:
    """Return what reads such records; None if not one of them is valid JSON."""
    values = []
    for record in records:
        try:
            values.append(_parse(record))
        except RecordFault:
            continue
    template = copy(entry.get("template"))
    if not values and not entry["fields"] and not template:
        return None
    if template:
        template["labels"] = {**class_labels(file), **template["labels"]}
    prompts = entry.get("prompts", False)
    return file_reader(values, entry["fields"], file.url, prompts=prompts, template=template)


def _parse(record: Record) -> Any:
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


def _read_record(
    record: Record,
    row_id: str,
    reader: RecordReader | None,
    entry: EntryIdentity,
    batch: RecordBatch,
) -> None:
    batch.bytes += record.size or len(record.raw)
    file = record.file_name(batch.file)
    try:
        value = _parse(record)
        assert reader is not None, "a record with a value has a reader"
        if record.raw and isinstance(value, dict) and (key := repeated_key(record.raw, value)):
            batch.repeated.append(f"{file}:{record.position} ({key!r:.80})")
        parsed_record = reader.read(value)
    except RecordFault as fault:
        batch.rejects.append(_reject(fault, record, entry, file))
        return
    batch.layouts[parsed_record.layout, parsed_record.fields] += 1
    for name, conversation in _named_conversations(row_id, parsed_record):
        try:
            batch.rows.append(_row_of(conversation, name, entry, file))
        except RecordFault as fault:
            batch.rejects.append(_reject(fault, record, entry, file))


def _named_conversations(
    row_id: str, parsed_record: ParsedRecord
) -> Iterator[tuple[str, Conversation]]:
    """Yield the conversations of a record with their ids: from the second on with #2, #3 ..."""
    for i, conversation in enumerate(parsed_record.conversations, start=1):
        yield (row_id if i == 1 else f"{row_id}#{i}"), conversation


def _reject(fault: RecordFault, record: Record, entry: EntryIdentity, file: str) -> dict[str, Any]:
    return {
        "source": entry["source"],
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


def _row_of(
    conversation: Conversation, row_id: str, entry: EntryIdentity, file: str
) -> dict[str, Any]:
    if conversation.fault or conversation.example is None:
        raise conversation.fault or RecordFault(Reason.MISSING_FIELD, "messages")
    messages = conversation.example.turns
    if entry["strip_end"]:
        last = messages[-1]
        last["content"] = last["content"].removesuffix(entry["strip_end"])
    fault = find_fault(messages)
    if fault and not (entry.get("prompts") and fault[0] is Reason.LAST_TURN_NOT_ASSISTANT):
        raise RecordFault(*fault)
    tools = conversation.example.tools
    return {
        "row_id": row_id,
        "messages": messages,
        "tools": tools,
        "rejected": conversation.example.rejected,
        "content_hash": content_hash(messages, tools),
        "text_hash": text_hash(messages, tools),
        "source": entry["source"],
        "origin": conversation.origin or file.split(".")[0],
        "meta": _meta(conversation.meta),
        "parents": [],
        "method": None,
        "hop": None,
    }


def _no_record(records: Sequence[int], entries: PoolEntries) -> str | None:
    """Return what is to be said where nothing was read: from all of a pool, or from one example set.

    Args:
        records: how many each entry has.
        entries: key and files of each.
    """
    lacking = [number for number, count in enumerate(records) if not count]
    if not lacking or (entries.keys[lacking[0]].startswith("pool") and any(records)):
        return None
    urls = [url for number in lacking for url in entries.urls[number]]
    keys = ", ".join(entries.keys[number] for number in lacking)
    return f"{keys}: there is no record at all in {_listed(urls)}; every file is empty or blank"


def _listed(names: Sequence[str], most: int = MAX_LISTED_NAMES) -> str:
    more = f" and {len(names) - most:,} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _too_many(rejected: Counter[str], total: int, limit: float, out: Path) -> str:
    lines = [
        f"{rejected.total()} of {total} records make no row; at most {limit:.0%} may "
        "(ingest.max_rejected sets that for the pool; targets and eval sets allow none)."
    ]
    for reason, count in rejected.most_common(3):
        lines.append(f"  {count} x {reason}: the record {EXPLAINED[Reason(reason)]}")
    for bad in scan_table(out / "rejects.parquet").head(3).collect().to_dicts():
        lines.append(f"  {bad['file']}:{bad['position']}: {bad['reason']} ({bad['field']})")
    return "\n".join(lines)
