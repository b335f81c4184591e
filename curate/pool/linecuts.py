"""A big file of JSON Lines, cut at line ends while the digests of its ranges are taken.

bytes 0 to 536,871,403          lines 1 to 206,750        a range and its digest
bytes 536,871,404 to ...        lines 206,751 to ...
"""

import io

from curate.pool.containers.lines import line_ends
from curate.pool.cuts import LineRange
from curate.pool.files import BLOCK, new_digest


def cut_lines(stream: io.BufferedIOBase, size: int) -> list[LineRange]:
    """Return the ranges of a stream: each the fewest whole lines that have so many bytes."""
    cutter, buffer = _LineCutter(size), bytearray(BLOCK)
    while count := stream.readinto(buffer):
        cutter.add(buffer, count)
    cutter.close()
    return cutter.ranges


class _LineCutter:
    """Ranges of bytes that come block by block."""

    def __init__(self, size: int) -> None:
        self.ranges: list[LineRange] = []
        self._size = size
        self._open(0, 1)

    def add(self, block: bytearray, count: int) -> None:
        """Add the first bytes of a block to the open range, and close it where it may end."""
        at = 0
        while (end := block.find(b"\n", max(at, at + self._size - 1 - self._bytes), count) + 1) > 0:
            self._take(block, at, end)
            self.close()
            at = end
        self._take(block, at, count)

    def close(self) -> None:
        """End the open range, unless it has no byte."""
        if self._bytes:
            digest = self._hash.hexdigest()
            self.ranges.append(LineRange(digest, self._start, self._bytes, self._first))
            self._open(self._start + self._bytes, self._first + self._lines)

    def _open(self, start: int, first: int) -> None:
        self._start, self._first = start, first
        self._bytes = self._lines = 0
        self._hash = new_digest()

    def _take(self, block: bytearray, start: int, end: int) -> None:
        taken = memoryview(block)[start:end]
        self._hash.update(taken)
        self._bytes += len(taken)
        self._lines += line_ends(taken)
