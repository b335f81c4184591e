"""JSON Lines: a record a line."""

from collections.abc import Iterator
from typing import IO

from curate.pool.containers.record import BEGINNING, Record


def pieces(stream: IO[bytes], longest: int) -> Iterator[bytes]:
    """Yield lines; one that is longer than `longest` comes in pieces."""
    while piece := stream.readline(longest + 1):
        yield piece


def read_lines(stream: IO[bytes], longest: int) -> Iterator[Record]:
    """Yield the lines that are not blank; of one that is too long only the beginning is given."""
    position, ended = 0, True
    for piece in pieces(stream, longest):
        if ended:
            position += 1
            if len(piece) > longest:
                yield Record(position, piece[:BEGINNING], too_long=True)
            elif piece.strip():
                yield Record(position, piece.rstrip(b"\r\n"))
        ended = piece.endswith(b"\n")
