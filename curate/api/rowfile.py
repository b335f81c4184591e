"""Rows of this process written to a file beside the store, which is named by what is in it.

a Dataset or IterableDataset of known columns   Parquet, by batches of Arrow, with the names of labels
whatever else                                   JSON Lines, record by record
"""

import hashlib
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import UserError

BATCH_ROWS = 1_000
HUB_METADATA = b"huggingface"
FORMS = "a path, a list of dicts, a frame of polars or pandas, a table of Arrow, or a Dataset"


def write_rows(source: Any, folder: Path) -> Path:
    """Write records, a frame or a data set to a file of the folder; return its path.

    Raises:
        UserError: rows cannot be given so, or something in them has no word in JSON.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if is_hub_dataset(source, "DatasetDict", "IterableDatasetDict"):
        if len(source) == 1:
            return write_rows(next(iter(source.values())), folder)
        raise UserError(
            f"the {type(source).__name__} holds several splits ({', '.join(source)}); give one, e.g. "
            f"dataset[{next(iter(source), 'train')!r}]"
        )
    arrow = is_hub_dataset(source, "Dataset", "IterableDataset") and source.features is not None
    suffix, write = (".parquet", _write_parquet) if arrow else (".jsonl", _write_lines)
    return _named_by_content(folder, suffix, lambda path: write(source, path))


def is_hub_dataset(source: Any, *names: str) -> bool:
    """Return whether something is of a class of `datasets`, without loading that."""
    library = sys.modules.get("datasets")
    return library is not None and isinstance(source, tuple(getattr(library, n) for n in names))


def _named_by_content(folder: Path, suffix: str, write: Callable[[Path], None]) -> Path:
    draft = folder / f".{uuid4().hex}{suffix}"
    try:
        write(draft)
        with draft.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=8))
        return draft.replace(folder / f"{digest.hexdigest()}{suffix}")
    finally:
        draft.unlink(missing_ok=True)


def _write_parquet(source: Any, path: Path) -> None:
    """Write a data set by batches, without holding more than one."""
    schema = _plain_schema(source.features.arrow_schema)
    with pq.ParquetWriter(path, schema) as writer:
        for table in source.with_format("arrow").iter(BATCH_ROWS):
            writer.write_table(table.cast(schema))


def _plain_schema(schema: pa.Schema) -> pa.Schema:
    """Return a schema with the names of class labels, but without what differs from load to load."""
    written = orjson.loads((schema.metadata or {}).get(HUB_METADATA, b"{}"))
    return schema.with_metadata({HUB_METADATA: orjson.dumps({"info": written.get("info")})})


def _write_lines(source: Any, path: Path) -> None:
    with path.open("wb") as file:
        file.writelines(map(_json_line, _records(source)))


def _json_line(record: dict[str, Any]) -> bytes:
    """Return a record as a line of JSON.

    What orjson refuses, a number of more than 64 bits or half of a surrogate pair, is for who reads it.

    Raises:
        UserError: there is something in it that JSON has no word for.
    """
    try:
        return orjson.dumps(record, default=_plain_value) + b"\n"
    except orjson.JSONEncodeError as error:
        try:
            return json.dumps(record, default=_plain_value).encode() + b"\n"
        except (TypeError, ValueError, RecursionError):
            raise UserError(
                f"a record cannot be written as JSON: {error}; record: {record!r:.200}"
            ) from error


def _plain_value(value: Any) -> Any:
    """Return an array of numpy as a list, a date or time of pandas or a decimal as text, NaT as null."""
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Decimal | date | timedelta | Path):
        return str(value) if value == value else None
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"a {type(value).__name__}")


def _check_columns(names: Sequence[Any]) -> None:
    """Fail where two columns of a frame have one name: all but the last would go.

    Raises:
        UserError: they have.
    """
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise UserError(f"two columns of the frame have the name {twice[0]!r}; rename one")


def _records(source: Any) -> Iterator[dict[str, Any]]:
    """Yield records.

    Raises:
        UserError: it is none of what rows can be given as.
    """
    if isinstance(source, Sequence) and all(isinstance(record, Mapping) for record in source):
        return map(dict, source)
    if is_hub_dataset(source, "IterableDataset"):
        return map(dict, source)
    if isinstance(source, pl.LazyFrame):
        source = source.collect()
    if isinstance(source, pl.DataFrame):
        return source.iter_rows(named=True)
    # A frame of pandas.
    if hasattr(source, "to_dict") and hasattr(source, "columns"):
        _check_columns(list(source.columns))
        return iter(source.to_dict("records"))
    if hasattr(source, "__arrow_c_stream__"):
        return pl.DataFrame(source).iter_rows(named=True)
    raise UserError(f"rows are given as {FORMS}; this is a {type(source).__name__}")
