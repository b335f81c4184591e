"""Parquet and Arrow files and streams: a record a row, read by row group and batch."""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.pool.containers.arrowvalues import BinaryValue, as_readable, plain_value
from curate.pool.containers.magic import Kind
from curate.pool.containers.record import Record

BLOCK = 2**20
BATCH_ROWS = 1_000
BATCH_BYTES = 16 * 2**20


def read_arrow(place: str, kind: Kind, handle: IO[bytes]) -> Iterator[Record]:
    """Yield the rows of a Parquet or Arrow file or an Arrow stream.

    Nulls are left out, since a column has a value or null in every row: the null of a table is the
    field that JSON has not. NaN and Infinity are null.

    Raises:
        UserError: it is damaged or cut off, or a column's type is not read.
    """
    with arrow_faults(place, kind):
        yield from _records(place, READERS[kind](handle), 1)


def read_row_groups(
    place: str, handle: IO[bytes], footer: pq.FileMetaData, groups: range, first: int
) -> Iterator[Record]:
    """Yield the rows of some row groups of a Parquet file, as read_arrow does those of all.

    Args:
        place: what errors call the file.
        handle: the file as a whole.
        footer: of the file.
        groups: their numbers, from 0.
        first: number of their first row in the file, from 1.

    Raises:
        UserError: they are damaged or cut off, or a column's type is not read.
    """
    with arrow_faults(place, Kind.PARQUET):
        yield from _records(place, _group_batches(handle, footer, groups), first)


def _records(place: str, batches: Iterator[pa.RecordBatch], first: int) -> Iterator[Record]:
    position = first
    for batch in batches:
        _check_names(place, batch.schema)
        for start in range(0, batch.num_rows, BATCH_ROWS):
            part = batch.slice(start, BATCH_ROWS)
            part.validate(full=True)
            size = part.nbytes // part.num_rows
            for value in as_readable(place, part).to_pylist(maps_as_pydicts="strict"):
                yield _record(position, value, size)
                position += 1


def _record(position: int, value: dict[str, Any], size: int) -> Record:
    try:
        plain = {k: plain_value(v, k) for k, v in value.items() if v is not None}
    except BinaryValue as error:
        text = {k: v for k, v in value.items() if isinstance(v, str)}
        fault = (Reason.UNSUPPORTED_CONTENT, f"{error}: binary data")
        return Record(position, value=text, parsed=True, size=size, fault=fault)
    return Record(position, value=plain, parsed=True, size=size)


def _parquet_batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
    footer = pq.read_metadata(handle)
    yield from _group_batches(handle, footer, range(footer.num_row_groups))


def _group_batches(
    handle: IO[bytes], footer: pq.FileMetaData, groups: range
) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(
        handle,
        metadata=footer,
        pre_buffer=False,
        buffer_size=BLOCK,
        page_checksum_verification=True,
    )
    # Group by group: of several groups the reader would hold all.
    for group in groups:
        metadata = footer.row_group(group)
        size = max(metadata.total_byte_size // max(metadata.num_rows, 1), 1)
        rows, count = max(min(BATCH_ROWS, BATCH_BYTES // size), 1), 0
        for batch in file.iter_batches(rows, row_groups=[group], use_threads=False):
            count += batch.num_rows
            yield batch
        if count != metadata.num_rows:
            raise pa.ArrowInvalid(
                f"row group {group} has {count} rows, and {metadata.num_rows} by the footer"
            )


def _file_batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_file(handle) as file:
        for i in range(file.num_record_batches):
            yield file.get_batch(i)


def _stream_batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
    with pa.ipc.open_stream(handle) as stream:
        yield from stream


READERS: dict[Kind, Callable[[IO[bytes]], Iterator[pa.RecordBatch]]] = {
    Kind.PARQUET: _parquet_batches,
    Kind.ARROW_FILE: _file_batches,
    Kind.ARROW_STREAM: _stream_batches,
}


def _check_names(place: str, schema: pa.Schema) -> None:
    twice = [name for name, times in Counter(schema.names).items() if times > 1]
    if twice:
        raise UserError(f"{place}: two columns have the name {twice[0]!r}; rename one")


@contextmanager
def arrow_faults(place: str, kind: Kind) -> Iterator[None]:
    """Turn what is wrong with a file into a sentence."""
    try:
        yield
    except KeyError as error:
        raise UserError(f"{place}: a map in the {kind} data has a key twice ({error})") from error
    except pa.ArrowNotImplementedError as error:
        raise UserError(
            f"{place}: the {kind} data has a type or codec that is not read ({error}); write it again "
            "without"
        ) from error
    except (pa.ArrowException, OSError, UnicodeDecodeError, EOFError, MemoryError) as error:
        if getattr(error, "errno", None) is not None:
            # Not the data but the machine.
            raise
        why = str(error).strip().split("\n")[0][:200]
        raise UserError(f"{place}: the {kind} data is damaged or cut off ({why})") from error
