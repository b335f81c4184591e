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
    position = 0
    with _faults(place, kind):
        for batch in READERS[kind](handle):
            _check_names(place, batch.schema)
            for start in range(0, batch.num_rows, BATCH_ROWS):
                part = batch.slice(start, BATCH_ROWS)
                part.validate(full=True)
                size = part.nbytes // part.num_rows
                for value in as_readable(place, part).to_pylist(maps_as_pydicts="strict"):
                    position += 1
                    yield _record(position, value, size)


def _record(position: int, value: dict[str, Any], size: int) -> Record:
    try:
        plain = {k: plain_value(v, k) for k, v in value.items() if v is not None}
    except BinaryValue as error:
        text = {k: v for k, v in value.items() if isinstance(v, str)}
        fault = (Reason.UNSUPPORTED_CONTENT, f"{error}: binary data")
        return Record(position, value=text, parsed=True, size=size, fault=fault)
    return Record(position, value=plain, parsed=True, size=size)


def _parquet_batches(handle: IO[bytes]) -> Iterator[pa.RecordBatch]:
    file = pq.ParquetFile(
        handle, pre_buffer=False, buffer_size=BLOCK, page_checksum_verification=True
    )
    # Group by group: of several groups the reader would hold all.
    for group in range(file.num_row_groups):
        metadata = file.metadata.row_group(group)
        size = max(metadata.total_byte_size // max(metadata.num_rows, 1), 1)
        rows = max(min(BATCH_ROWS, BATCH_BYTES // size), 1)
        yield from file.iter_batches(rows, row_groups=[group], use_threads=False)


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
def _faults(place: str, kind: Kind) -> Iterator[None]:
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
