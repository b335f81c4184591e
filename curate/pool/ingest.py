"""Read the pool's files into rows; what makes no row goes to the rejects, with file, line and reason.

rows.parquet      the rows, in the order of files and positions
rejects.parquet   file, position, reason, field, raw (first 2,000 characters)
"""

import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.config import Config, RowFile
from curate.errors import UserError
from curate.pool.files import PoolFile, Record, digest_url, find_files, parse_json, read_records
from curate.pool.formats import (
    Fault,
    Format,
    detect_format,
    find_origin,
    leftover_fields,
    read_turns,
)
from curate.reasons import EXPLAINED, Reason
from curate.rows import SCHEMA, content_hash, find_fault
from curate.store import Artifact, Counts, Step

VERSION = 2
DETECT_ROWS = 100
BATCH_ROWS = 10_000
RAW_CHARS = 2_000
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


def input_steps(config: Config) -> dict[str, Step]:
    """Return the steps that read a recipe's inputs: pool and, where given, target, eval and protected.

    Raises:
        UserError: as ingest_step.
    """
    entries: dict[str, Sequence[RowFile]] = {"pool": config.pool}
    if config.target is not None:
        entries["target"] = [config.target]
        if config.target.eval is not None:
            wanted = config.target.eval
            named = wanted if wanted.source else wanted.model_copy(update={"source": "eval"})
            entries["eval"] = [named]
    if config.protected:
        entries["protected"] = config.protected
    limits = {"pool": config.ingest.max_rejected}
    return {
        name: ingest_step(name, files, seed=config.seed, max_rejected=limits.get(name, 0.0))
        for name, files in entries.items()
    }


def ingest_step(name: str, entries: Sequence[RowFile], *, seed: int, max_rejected: float) -> Step:
    """Return the step that reads these entries; its key holds the digest of every file's bytes.

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
    params, hints = [], []
    for entry in entries:
        files = find_files(entry.path)
        params.append(
            {
                **entry.model_dump(mode="json", exclude={"path", "eval"}),
                "source": entry.source_name,
                "files": [{"name": file.name, "digest": digest_url(file)} for file in files],
            }
        )
        hints.append({"source": entry.source_name, "urls": [file.url for file in files]})
    return Step(
        name,
        VERSION,
        ingest,
        params={"entries": params, "seed": seed, "max_rejected": max_rejected},
        hints={"entries": hints},
    )


def ingest(
    out: Path,
    inputs: Mapping[str, Artifact],
    params: Mapping[str, Any],
    hints: Mapping[str, Any],
) -> Counts:
    """Write rows.parquet and rejects.parquet; return rows_in, rows_out and rejected by reason.

    Raises:
        UserError: a file's format is unknown, or more than `max_rejected` of its records are bad.
    """
    rejected: Counter[str] = Counter()
    rows_out = 0
    with (
        pq.ParquetWriter(out / "rows.parquet", SCHEMA, compression="zstd") as rows,
        pq.ParquetWriter(out / "rejects.parquet", REJECTS_SCHEMA, compression="zstd") as rejects,
    ):
        for entry, hint in zip(params["entries"], hints["entries"], strict=True):
            for good, bad in _read_entry(entry, hint["urls"], params["seed"]):
                if good:
                    rows.write_table(pa.Table.from_pylist(good, schema=SCHEMA))
                if bad:
                    rejects.write_table(pa.Table.from_pylist(bad, schema=REJECTS_SCHEMA))
                rows_out += len(good)
                rejected.update(reject["reason"] for reject in bad)
    total = rows_out + rejected.total()
    if rejected.total() > params["max_rejected"] * total or not rows_out:
        raise UserError(_too_many(rejected, total, params["max_rejected"], out))
    return {"rows_in": total, "rows_out": rows_out, "rejected": dict(sorted(rejected.items()))}


Batch = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def _read_entry(entry: Mapping[str, Any], urls: Sequence[str], seed: int) -> Iterator[Batch]:
    files = [PoolFile(url, file["name"]) for url, file in zip(urls, entry["files"], strict=True)]
    chosen = _sample(entry["source"], files, entry["sample"], seed)
    for file in files:
        records = read_records(file)
        head = list(islice(records, DETECT_ROWS))
        form = _format_of(entry, head, file)
        batch: Batch = ([], [])
        for record in _chain(head, records):
            row_id = f"{entry['source']}/{file.name}:{record.position}"
            if chosen is not None and row_id not in chosen:
                continue
            _read_record(record, row_id, form, entry, file, batch)
            if len(batch[0]) + len(batch[1]) >= BATCH_ROWS:
                yield batch
                batch = ([], [])
        yield batch


def _chain(head: list[Record], rest: Iterator[Record]) -> Iterator[Record]:
    yield from head
    yield from rest


def _sample(
    source: str, files: Sequence[PoolFile], size: int | None, seed: int
) -> frozenset[str] | None:
    """Return the ids of a uniform sample: the records whose seeded hash is smallest."""
    if size is None:
        return None

    def order(row_id: str) -> bytes:
        return hashlib.blake2b(f"{seed}\x1f{row_id}".encode(), digest_size=16).digest()

    ids = (f"{source}/{file.name}:{r.position}" for file in files for r in read_records(file))
    return frozenset(heapq.nsmallest(size, ids, key=order))


def _format_of(entry: Mapping[str, Any], head: Sequence[Record], file: PoolFile) -> Format:
    if entry["fields"]:
        return Format("fields", **entry["fields"])
    values = []
    for record in head:
        try:
            values.append(_parse(record))
        except Fault:
            continue
    return detect_format(values, file.url)


def _parse(record: Record) -> Any:
    if record.parsed:
        return record.value
    try:
        return parse_json(record.raw)
    except orjson.JSONDecodeError as error:
        try:
            record.raw.decode()
        except UnicodeDecodeError as bad:
            raise Fault(Reason.BAD_UTF8, f"byte {bad.start}") from error
        raise Fault(Reason.BAD_JSON, f"column {error.colno}") from error


def _read_record(
    record: Record,
    row_id: str,
    form: Format,
    entry: Mapping[str, Any],
    file: PoolFile,
    batch: Batch,
) -> None:
    try:
        batch[0].append(_row_of(_parse(record), row_id, form, entry, file))
    except Fault as fault:
        batch[1].append(
            {
                "source": entry["source"],
                "file": file.name,
                "position": record.position,
                "reason": fault.reason.value,
                "field": fault.field,
                "raw": _shown(record)[:RAW_CHARS],
            }
        )


def _shown(record: Record) -> str:
    if not record.parsed:
        return record.raw.decode(errors="replace")
    try:
        return _dump(record.value)
    except Fault:
        return "(nested too deeply to show)"


def _dump(value: Any) -> str:
    """Return a value as JSON.

    Raises:
        Fault: it is nested too deeply.
    """
    try:
        return orjson.dumps(value).decode()
    except TypeError:
        pass
    try:
        return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    except RecursionError as error:
        raise Fault(Reason.UNSUPPORTED_CONTENT, "nested too deeply") from error


def _row_of(
    value: Any, row_id: str, form: Format, entry: Mapping[str, Any], file: PoolFile
) -> dict[str, Any]:
    messages = read_turns(value, form)
    if entry["strip_end"]:
        last = messages[-1]
        last["content"] = last["content"].removesuffix(entry["strip_end"])
    fault = find_fault(messages)
    if fault:
        raise Fault(*fault)
    origin, origin_field = find_origin(value, form)
    return {
        "row_id": row_id,
        "messages": messages,
        "content_hash": content_hash(messages),
        "source": entry["source"],
        "origin": origin or file.name.split(".")[0],
        "meta": _dump(leftover_fields(value, form, origin_field)),
        "parents": [],
        "method": None,
        "hop": None,
    }


def _too_many(rejected: Counter[str], total: int, limit: float, out: Path) -> str:
    lines = [
        f"{rejected.total()} of {total} records make no row; at most {limit:.0%} may "
        "(ingest.max_rejected sets that for the pool; targets and eval sets allow none)."
    ]
    for reason, count in rejected.most_common(3):
        lines.append(f"  {count} x {reason}: the record {EXPLAINED[Reason(reason)]}")
    for bad in pq.read_table(out / "rejects.parquet").slice(0, 3).to_pylist():
        lines.append(f"  {bad['file']}:{bad['position']}: {bad['reason']} ({bad['field']})")
    return "\n".join(lines)
