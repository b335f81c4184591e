"""Data files of an export: JSON Lines, and Parquet beside it; their names carry a digest of the rows.

train-0a1b2c3d4e5f6071.jsonl
train-0a1b2c3d4e5f6071-00000-of-00002.parquet
train-0a1b2c3d4e5f6071-00001-of-00002.parquet
validation-8c1d2e3f4a5b6c7d.jsonl

`datasets` takes two folders of one name and file pattern for the same data, and would hand out from its
cache the rows of whichever it read first.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.pool.turnforms import Record

DATA_FILE = re.compile(
    r"(?P<split>[a-z]+)-(?P<digest>[0-9a-f]{16})(-\d{5}-of-\d{5})?\.(jsonl|parquet)"
)
# What an export has beside data files: recipes of trainers, and what their loaders read.
FURTHER_FILE = re.compile(r"recipes/[^/]+|[a-z_]+/dataset_info\.json")
SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.parquet$)")
SHARD_BYTES = 500_000_000
BATCH_ROWS = 10_000


def write_records(
    batches: Iterable[Sequence[Record]],
    folder: Path,
    schema: pa.Schema | None = None,
    tables: Path | None = None,
    *,
    split: str = "train",
    shard_bytes: int = SHARD_BYTES,
) -> list[Path]:
    """Write records as JSON Lines, and as Parquet if there is a schema; return the files.

    Without a record no file is left.

    Args:
        batches: of records, in order.
        folder: of the lines.
        schema: of the Parquet files; its JSON columns are text there, by Arrow's type for JSON.
        tables: folder of the Parquet files, that of the lines if None.
        split: of the records, with which names begin.
        shard_bytes: JSON of the records from which on a Parquet file is full.
    """
    tables = tables or folder
    for place in (folder, tables):
        place.mkdir(parents=True, exist_ok=True)
    lines = folder / f".{split}.jsonl"
    digest = hashlib.blake2b(digest_size=8)
    with ExitStack() as files:
        text = files.enter_context(lines.open("wb"))
        shards = files.enter_context(_Shards(tables / f".{split}", schema, shard_bytes))
        for records in batches:
            for record in records:
                line = orjson.dumps(record) + b"\n"
                digest.update(line)
                text.write(line)
                shards.add(record, len(line))
    if not lines.stat().st_size:
        lines.unlink()
        return []
    name = f"{split}-{digest.hexdigest()}"
    return [lines.rename(folder / f"{name}.jsonl"), *shards.rename(tables / name)]


class _Shards:
    """Parquet files of about one size, numbered once all are there; none without a schema."""

    def __init__(self, start: Path, schema: pa.Schema | None, shard_bytes: int) -> None:
        self._start, self._schema, self._shard_bytes = start, schema, shard_bytes
        self._paths: list[Path] = []
        self._records: list[Record] = []
        self._writer: pq.ParquetWriter | None = None
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self._close()

    def add(self, record: Record, size: int) -> None:
        """Add a record, whose JSON has this size."""
        if self._schema is None:
            return
        self._records.append(record)
        self._bytes += size
        if self._bytes >= self._shard_bytes:
            self._close()
        elif len(self._records) >= BATCH_ROWS:
            self._write()

    def rename(self, start: Path) -> list[Path]:
        """Give the files their names; return them."""
        count = len(self._paths)
        return [
            path.rename(start.with_name(f"{start.name}-{i:05d}-of-{count:05d}.parquet"))
            for i, path in enumerate(self._paths)
        ]

    def _write(self) -> None:
        if not self._records:
            return
        if self._writer is None:
            path = self._start.with_name(f"{self._start.name}-{len(self._paths)}.parquet")
            self._paths.append(path)
            self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._writer.write_table(_table(self._records, self._schema))
        self._records = []

    def _close(self) -> None:
        self._write()
        if self._writer is not None:
            self._writer.close()
        self._writer, self._bytes = None, 0


def _table(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """Return records as a table; Arrow makes no JSON of objects by itself."""
    stored = pa.schema([field.with_type(_storage(field.type)) for field in schema])
    if stored == schema:
        return pa.Table.from_pylist(records, schema=schema)
    rows = [{f.name: _stored(record.get(f.name), f.type) for f in schema} for record in records]
    return pa.Table.from_pylist(rows, schema=stored).cast(schema)


def _storage(kind: pa.DataType) -> pa.DataType:
    """Return a type with text in the places of JSON."""
    if isinstance(kind, pa.JsonType):
        return pa.string()
    if pa.types.is_list(kind):
        return pa.list_(_storage(kind.value_type))
    if pa.types.is_struct(kind):
        return pa.struct([(field.name, _storage(field.type)) for field in kind])
    return kind


def _stored(value: Any, kind: pa.DataType) -> Any:
    """Return a value with text in the places of JSON."""
    if value is None:
        return None
    if isinstance(kind, pa.JsonType):
        return orjson.dumps(value).decode()
    if pa.types.is_list(kind):
        return [_stored(part, kind.value_type) for part in value]
    if pa.types.is_struct(kind):
        return {field.name: _stored(value.get(field.name), field.type) for field in kind}
    return value


def are_exported(names: Sequence[str]) -> bool:
    """Return whether files of records are those of an export, by their names."""
    return bool(names) and all(map(_is_data_file, names))


def is_export_file(name: str) -> bool:
    """Return whether a name within an export's folder is that of a file which an export writes."""
    return FURTHER_FILE.fullmatch(name) is not None or _is_data_file(name)


def repeated_lines(names: Sequence[str]) -> list[str]:
    """Return an export's files of JSON Lines of which the rows stand in Parquet files beside them."""
    files = [name for name in names if _is_data_file(name)]
    tables = {SHARD.sub("", name).removesuffix(".parquet") for name in files if SHARD.search(name)}
    return [name for name in files if name.removesuffix(".jsonl") in tables]


def _is_data_file(name: str) -> bool:
    return DATA_FILE.fullmatch(name.rpartition("/")[2]) is not None


def pattern_of(path: str) -> str:
    """Return the pattern of all shards of a Parquet file; other files are their own."""
    return SHARD.sub("-*", path)
