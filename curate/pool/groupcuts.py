"""A big Parquet file, cut between row groups while the digests of its ranges are taken.

    row groups 0 to 7     bytes 4 to 180,221,003      rows 1 to 800,000         a range and its digests
    row groups 8 to ...   bytes 180,221,004 to ...    rows 800,001 to ...

A range has all bytes from its first row group to the next range, or to the footer: whatever a reader
of these groups may touch. What the footer says of them has a digest of its own
(curate.pool.containers.footer). So a range is the same wherever it lies in the file, and a row group
that changes, or is new, costs its own.
"""

from itertools import pairwise
from typing import IO

from curate.pool.containers.footer import Footer
from curate.pool.cuts import GroupRange
from curate.pool.files import BLOCK, new_digest


def cut_groups(handle: IO[bytes], footer: Footer, size: int) -> list[GroupRange] | None:
    """Return a file's ranges: each the fewest row groups that have so many bytes, unpacked.

    None where that is one range alone, or the row groups do not follow one another in the file.
    """
    bounds = _bounds(footer.sizes, size)
    starts = footer.starts()
    if len(bounds) <= 2 or not starts:
        return None
    ranges, first = [], 1
    handle.seek(starts[0])
    for group, end in pairwise(bounds):
        digest = _digest(handle, starts[end] - starts[group])
        about = footer.digest(range(group, end))
        ranges.append(GroupRange(digest, about, group, end - group, first))
        first += sum(footer.rows[group:end])
    return ranges


def _bounds(sizes: list[int], size: int) -> list[int]:
    """Return the number of each range's first group, then that of all groups."""
    bounds, filled = [0], 0
    for number, more in enumerate(sizes, start=1):
        filled += more
        if filled >= size or number == len(sizes):
            bounds.append(number)
            filled = 0
    return bounds


def _digest(handle: IO[bytes], count: int) -> str:
    """Return the digest of the next bytes, so many."""
    digest = new_digest()
    while count and (block := handle.read(min(count, BLOCK))):
        count -= len(block)
        digest.update(block)
    return digest.hexdigest()
