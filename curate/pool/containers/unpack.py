"""Compressed files: gzip, zstd, bz2 and xz, decompressed as a stream in bounded memory."""

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import pyarrow as pa

from curate.core.errors import UserError
from curate.pool.containers.magic import Kind

BLOCK = 2**20
# What `xz -9` needs, and a little more.
XZ_MEMORY = 128 * 2**20


class DecompressedReader(io.RawIOBase):
    """The bytes of compressed streams, one behind another; rubbish behind them is an error."""

    def __init__(self, stream: IO[bytes], new: Callable[[], Any], padding: bytes) -> None:
        self._stream, self._new, self._padding = stream, new, padding
        self._decompressor = new()

    def readable(self) -> bool:
        """Return that it can be read."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read decompressed bytes; none at the end."""
        while True:
            data = b""
            if self._decompressor.eof:
                data = self._behind(self._decompressor.unused_data)
                if not data:
                    return 0
                self._decompressor = self._new()
            elif self._decompressor.needs_input and not (data := self._stream.read(BLOCK)):
                raise EOFError("it ends too early")
            part: bytes = self._decompressor.decompress(data, len(buffer))
            if part:
                buffer[: len(part)] = part
                return len(part)

    def _behind(self, data: bytes) -> bytes:
        """Return what follows a stream, without the bytes that pad it."""
        data = data.lstrip(self._padding) if self._padding else data
        while not data and (data := self._stream.read(BLOCK)):
            data = data.lstrip(self._padding) if self._padding else data
        return data


OPENERS: dict[Kind, Callable[[IO[bytes]], Any]] = {
    Kind.GZIP: lambda stream: gzip.GzipFile(fileobj=stream),
    Kind.ZSTD: lambda stream: pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"),
    Kind.BZ2: lambda stream: DecompressedReader(stream, bz2.BZ2Decompressor, b""),
    Kind.XZ: lambda stream: DecompressedReader(
        stream, lambda: lzma.LZMADecompressor(memlimit=XZ_MEMORY), b"\0"
    ),
}


@contextmanager
def unpacked(place: str, kind: Kind, stream: IO[bytes]) -> Iterator["io.BufferedReader[Any]"]:
    """Give the bytes inside a compressed file.

    Raises:
        UserError: it is damaged or cut off, or needs too much memory.
    """
    try:
        yield io.BufferedReader(OPENERS[kind](stream), BLOCK)
    except (EOFError, OSError, zlib.error, lzma.LZMAError) as error:
        if getattr(error, "errno", None) is not None:
            # Not the data but the machine.
            raise
        limited = "memory" in str(error).lower()
        fault = "needs too much memory; unpack it first" if limited else "is damaged or cut off"
        raise UserError(f"{place}: the {kind} data {fault} ({error})") from error
