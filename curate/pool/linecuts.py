"""A big file of JSON Lines, cut at line ends into ranges whose digests are taken side by side.

bytes 0 to 536,871,403          lines 1 to 206,750        a range and its digest
bytes 536,871,404 to ...        lines 206,751 to ...
"""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

from curate.core.threads import in_threads
from curate.pool.containers.lines import line_ends
from curate.pool.cuts import LineRange
from curate.pool.files import BLOCK, new_digest


def cut_lines(path: Path, size: int) -> list[LineRange]:
    """Return the ranges of a file: each the fewest whole lines that have so many bytes.

    Raises:
        OSError: it cannot be read.
    """
    bounds = list(pairwise(_bounds(path, size)))
    ranges: list[LineRange] = []
    first = 1
    for (start, end), (digest, lines) in zip(
        bounds, in_threads(lambda bound: _digest_lines(path, *bound), bounds), strict=True
    ):
        ranges.append(LineRange(digest, start, end - start, first))
        first += lines
    return ranges


def _bounds(path: Path, size: int) -> Iterator[int]:
    """Yield where each range starts, and where the last one ends."""
    total, at = path.stat().st_size, 0
    with path.open("rb") as file:
        while at < total:
            yield at
            file.seek(at + size - 1)
            while (piece := file.readline(BLOCK)) and not piece.endswith(b"\n"):
                pass
            at = file.tell()
    yield total


def _digest_lines(path: Path, start: int, end: int) -> tuple[str, int]:
    """Return the digest of some bytes of a file, and how many lines end in them."""
    digest, lines, buffer = new_digest(), 0, bytearray(BLOCK)
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while count := file.readinto(memoryview(buffer)[: end - start]):
            digest.update(memoryview(buffer)[:count])
            lines += line_ends(memoryview(buffer)[:count])
            start += count
    return digest.hexdigest(), lines
