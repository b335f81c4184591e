"""Parts of files and what they become, as they pass through pipes: JSON, then bytes.

A frame is two lengths, of 8 bytes each, then a header in JSON and a payload: the lines of a part or its
records as JSON, and the rows that they become as an Arrow stream.
"""

import struct
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any

import orjson
import pyarrow as pa

from curate.pool.containers.lines import LineBlock
from curate.pool.files import PoolFile
from curate.pool.parts import FilePart, ReaderSource
from curate.pool.recordrows import RecordBatch
from curate.pool.records import Record

LENGTHS = struct.Struct(">QQ")
Frame = tuple[dict[str, Any], bytes]


def write_frame(pipe: IO[bytes], frame: Frame) -> None:
    """Write a header and its payload to a pipe."""
    header, payload = orjson.dumps(frame[0]), frame[1]
    pipe.write(LENGTHS.pack(len(header), len(payload)))
    pipe.write(header)
    pipe.write(payload)
    pipe.flush()


def read_frame(pipe: IO[bytes]) -> Frame | None:
    """Return the next header and its payload; None at the end.

    Raises:
        EOFError: a frame is cut off.
    """
    lengths = pipe.read(LENGTHS.size)
    if not lengths:
        return None
    header_length, payload_length = LENGTHS.unpack(_whole(lengths, LENGTHS.size))
    header = orjson.loads(_whole(pipe.read(header_length), header_length))
    return header, _whole(pipe.read(payload_length), payload_length)


def _whole(data: bytes, length: int) -> bytes:
    if len(data) < length:
        raise EOFError
    return data


def source_frame(source: ReaderSource) -> Frame | None:
    """Return what the reader of a file follows from; None if JSON cannot hold it."""
    head = _packed(source.head)
    header = {"source": {"entry": source.entry, "file": asdict(source.file)}}
    return None if head is None else (header, head)


def part_frame(part: FilePart) -> Frame | None:
    """Return the records of a part; None if JSON cannot hold them."""
    block = part.records
    if isinstance(block, LineBlock):
        return {"first": block.first, "part": block.part, "empty": part.empty}, block.data
    packed = _packed(block)
    return None if packed is None else ({"empty": part.empty}, packed)


def source_of(frame: Frame) -> ReaderSource:
    """Return what a source frame holds."""
    header, head = frame
    source = header["source"]
    return ReaderSource(source["entry"], PoolFile(**source["file"]), _unpacked(head))


def part_of(frame: Frame, source: ReaderSource) -> FilePart:
    """Return the part that a part frame holds."""
    header, payload = frame
    if "first" in header:
        block = LineBlock(header["first"], payload, header["part"])
        return FilePart(source, block, header["empty"])
    return FilePart(source, _unpacked(payload), header["empty"])


def batch_frame(batch: RecordBatch) -> Frame:
    """Return what records became."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.rows.schema) as stream:
        stream.write_table(batch.rows)
    header = {
        "file": batch.file,
        "rejects": batch.rejects,
        "layouts": [[name, fields, count] for (name, fields), count in batch.layouts.items()],
        "empty": batch.empty,
        "repeated": batch.repeated,
        "left": batch.left,
    }
    return header, memoryview(sink.getvalue())  # type: ignore[return-value]


def batch_of(frame: Frame) -> RecordBatch:
    """Return the batch that a batch frame holds."""
    header, payload = frame
    layouts = Counter({(name, tuple(fields)): n for name, fields, n in header["layouts"]})
    rows = pa.ipc.open_stream(payload).read_all()
    return RecordBatch(
        header["file"],
        rows,
        header["rejects"],
        layouts,
        header["empty"],
        header["repeated"],
        header["left"],
    )


def _packed(records: Sequence[Record]) -> bytes | None:
    """Return records as JSON, their bytes as text of one character each."""
    if any(record.fault for record in records):
        return None
    values = [
        [r.position, r.raw.decode("latin-1"), r.value, r.parsed, r.too_long, r.part, r.size]
        for r in records
    ]
    try:
        return orjson.dumps(values)
    except TypeError:
        # An integer beyond 64 bits, or more than 254 levels.
        return None


def _unpacked(packed: bytes) -> list[Record]:
    return [Record(at, raw.encode("latin-1"), *others) for at, raw, *others in orjson.loads(packed)]
