"""The footer of a Parquet file: its row groups, where they are, and what their reading follows from."""

import hashlib
import io
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import IO

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

# The length of the footer and a mark stand behind it.
END = 8


@dataclass(frozen=True)
class Footer:
    """A footer: what pyarrow reads of it, and where its bytes start."""

    metadata: pq.FileMetaData
    start: int

    @cached_property
    def sizes(self) -> list[int]:
        """Return how many bytes each row group takes up when it is unpacked."""
        return [self.metadata.row_group(i).total_byte_size for i in self._numbers]

    @cached_property
    def rows(self) -> list[int]:
        """Return how many rows each row group has."""
        return [self.metadata.row_group(i).num_rows for i in self._numbers]

    def starts(self) -> list[int]:
        """Return where the bytes of each row group start, then where the footer does.

        One that has no bytes starts where the next one does. Empty if they do not follow one another
        in the file.

        Raises:
            pa.ArrowException: what is said of a column is damaged.
        """
        _check_columns(self, self._numbers, pre_buffer=True)
        if not self.metadata.num_columns:
            return []
        spans: list[tuple[int, int]] = []
        for number in reversed(self._numbers):
            behind = spans[-1][0] if spans else self.start
            spans.append(_span(self._columns(number)) or (behind, behind))
        spans.reverse()
        marks = [*chain.from_iterable(spans), self.start]
        return [*(start for start, _ in spans), self.start] if marks == sorted(marks) else []

    def digest(self, groups: range) -> str:
        """Return 32 hex digits that identify all that the reading of row groups follows from.

        That is the schema with what is written beside it, who wrote the file, and of each chunk of a
        column its codec, its sizes and its place behind the first one's. Statistics are not read.

        Raises:
            pa.ArrowException: what is said of a column is damaged, or it has an unknown codec.
        """
        for number in groups:
            _check_columns(self, range(number, number + 1), pre_buffer=False)
        spans = (_span(self._columns(number)) for number in groups)
        start = next((span[0] for span in spans if span), 0)
        schema = self.metadata.schema
        about = [
            [self.metadata.created_by, self.metadata.format_version, _tree(schema)],
            [[self.rows[i], self.sizes[i]] for i in groups],
            [[_chunk(column, start) for column in self._columns(i)] for i in groups],
        ]
        digest = hashlib.blake2b(schema.to_arrow_schema().serialize(), digest_size=16)
        digest.update(orjson.dumps(about))
        return digest.hexdigest()

    @property
    def _numbers(self) -> range:
        return range(self.metadata.num_row_groups)

    def _columns(self, number: int) -> list[pq.ColumnChunkMetaData]:
        group = self.metadata.row_group(number)
        return [group.column(i) for i in range(group.num_columns)]


def read_footer(handle: IO[bytes]) -> Footer:
    """Return the footer of a Parquet file.

    Raises:
        pa.ArrowException: it is damaged or cut off.
    """
    metadata = pq.read_metadata(handle)
    return Footer(metadata, handle.seek(0, os.SEEK_END) - END - metadata.serialized_size)


class _DataReachedError(Exception):
    """Data is about to be read."""


class _NoData(io.RawIOBase):
    """A file of so many bytes, none of which is read."""

    def __init__(self, size: int) -> None:
        self._size = self._at = size

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._at = offset + {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, size: int = -1) -> bytes:
        raise _DataReachedError


def _check_columns(footer: Footer, groups: range, *, pre_buffer: bool) -> None:
    """Have pyarrow's reader look at the columns of row groups, as it does before it reads data.

    What it finds at fault is an exception. Asked for such a column itself, pyarrow ends the process.

    Args:
        footer: what is looked at.
        groups: numbers of row groups.
        pre_buffer: look at the places of all of them; if not, at the first one's places and codecs.
    """
    metadata = footer.metadata
    if any(metadata.row_group(i).num_columns != metadata.num_columns for i in groups):
        raise pa.ArrowInvalid("a row group has other columns than the schema")
    file = pq.ParquetFile(
        _NoData(footer.start + metadata.serialized_size + END),
        metadata=metadata,
        pre_buffer=pre_buffer,
        buffer_size=0 if pre_buffer else io.DEFAULT_BUFFER_SIZE,
    )
    with suppress(_DataReachedError, StopIteration):
        next(file.iter_batches(1, row_groups=[*groups], use_threads=False))


def _tree(schema: pq.ParquetSchema) -> str:
    """Return a schema as text; its first line is where it is in memory."""
    return str(schema).partition("\n")[2]


def _start(column: pq.ColumnChunkMetaData) -> int | None:
    """Return where the bytes of a column in a row group start; None if it has none.

    The footer gives 0 as the place of the data of a column without a value, which has no data.
    """
    start: int = column.data_page_offset
    dictionary = column.dictionary_page_offset if column.has_dictionary_page else None
    if start or column.num_values:
        return min(dictionary or start, start)
    return dictionary or None


def _span(columns: Sequence[pq.ColumnChunkMetaData]) -> tuple[int, int] | None:
    """Return where the bytes of a row group's columns start, and where they end; None for no bytes."""
    starts = [(at, one) for one in columns if (at := _start(one)) is not None]
    if not starts:
        return None
    return min(at for at, _ in starts), max(at + one.total_compressed_size for at, one in starts)


def _chunk(column: pq.ColumnChunkMetaData, start: int) -> list[str | int | None]:
    """Return what a column's bytes in a row group are known by; places are counted from a start."""
    places = [at and at - start for at in (_start(column), column.data_page_offset)]
    return [
        column.path_in_schema,
        column.file_path,
        column.physical_type,
        column.compression,
        column.num_values,
        column.total_compressed_size,
        column.total_uncompressed_size,
        *places,
    ]
