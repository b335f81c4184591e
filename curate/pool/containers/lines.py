"""JSON Lines: a record a line, read in blocks of whole lines."""

from collections.abc import Collection, Iterator
from typing import IO, NamedTuple

import numpy as np

from curate.pool.containers.record import BEGINNING, Record

# Smaller ones take longer for each byte, larger ones more memory: texts full of escapes most.
BLOCK_BYTES = 2 * 2**20


class LineBlock(NamedTuple):
    """Lines that follow each other in a file.

    first: the 1-based number of the first one.
    data: their bytes.
    part: name of the file within an archive.
    """

    first: int
    data: bytes
    part: str = ""

    def records(self, without: Collection[int] = ()) -> Iterator[Record]:
        """Yield the lines that are not blank, without some, which are numbered from 0."""
        if len(without) == line_ends(self.data) + (not self.data.endswith(b"\n")):
            return
        for number, line in enumerate(self.data.split(b"\n")):
            if number not in without and line.strip():
                yield Record(self.first + number, line.rstrip(b"\r"), part=self.part)


def line_ends(data: bytes | memoryview) -> int:
    """Return how many lines end in some bytes: `bytes.count` takes five times as long."""
    return int(np.count_nonzero(np.frombuffer(data, np.uint8) == ord("\n")))


def pieces(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """Yield lines; one that is longer than `longest` comes in pieces."""
    while piece := stream.readline(longest + 1):
        yield piece


def read_lines(stream: IO[bytes], longest: int, first: int = 1) -> Iterator[LineBlock | Record]:
    """Yield blocks of lines; a line that is too long is a record, of which the beginning is given."""
    position = first
    while data := stream.read(min(BLOCK_BYTES, longest)):
        if not data.endswith(b"\n"):
            data += stream.readline(longest + 1)
        last = data.rfind(b"\n", 0, len(data) - 1) + 1
        if len(data) - last <= longest:
            yield LineBlock(position, data)
            position += line_ends(data)
            continue
        if last:
            yield LineBlock(position, data[:last])
            position += line_ends(data[:last])
        yield Record(position, data[last : last + BEGINNING], too_long=True)
        position += 1
        while not data.endswith(b"\n") and (data := stream.readline(longest + 1)):
            pass
