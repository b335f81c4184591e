"""Data files of an export: JSON Lines, and Parquet beside it; their names carry a digest of the rows.

train-0a1b2c3d4e5f6071.jsonl
train-0a1b2c3d4e5f6071-00000-of-00001.parquet

`datasets` takes two folders of one name and file pattern for the same data, and would hand out from its
cache the rows of whichever it read first.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from curate.pool.turnforms import Record

SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.parquet$)")
UNNAMED = ".train"


def write_records(
    batches: Iterable[Sequence[Record]],
    folder: Path,
    schema: pa.Schema | None = None,
    tables: Path | None = None,
) -> list[Path]:
    """Write records as JSON Lines, and as Parquet if there is a schema; return the files.

    Without a record no file is left.

    Args:
        batches: of records, in order.
        folder: of the lines.
        schema: of the Parquet file; its JSON columns are text there, by Arrow's type for JSON.
        tables: folder of the Parquet file, that of the lines if None.
    """
    tables = tables or folder
    for place in (folder, tables):
        place.mkdir(parents=True, exist_ok=True)
    lines, table = folder / f"{UNNAMED}.jsonl", tables / f"{UNNAMED}.parquet"
    digest = hashlib.blake2b(digest_size=8)
    with ExitStack() as files:
        text = files.enter_context(lines.open("wb"))
        writer = schema and files.enter_context(pq.ParquetWriter(table, schema, compression="zstd"))
        for records in batches:
            for record in records:
                line = orjson.dumps(record) + b"\n"
                digest.update(line)
                text.write(line)
            if writer:
                writer.write_table(_table(records, schema))
    if not lines.stat().st_size:
        lines.unlink()
        table.unlink(missing_ok=True)
        return []
    name = f"train-{digest.hexdigest()}"
    paths = [lines.rename(folder / f"{name}.jsonl")]
    if writer:
        paths.append(table.rename(tables / f"{name}-00000-of-00001.parquet"))
    return paths


def _table(records: Sequence[Record], schema: pa.Schema) -> pa.Table:
    """Return records as a table; Arrow makes no JSON of objects by itself."""
    stored = pa.schema([field.with_type(_storage(field.type)) for field in schema])
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


def pattern_of(path: str) -> str:
    """Return the pattern of all shards of a Parquet file; other files are their own."""
    return SHARD.sub("-*", path)
