"""Big files, cut into ranges that are read in a step of their own each.

JSON Lines     at line ends, by bytes
Parquet        between row groups, by the bytes that these take up when they are unpacked

The cuts follow from the bytes alone. What is on this machine is cut; what is behind a URL would be
copied as a whole for every range, and the middle of other compressed data is no text.
"""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from curate.core.errors import UserError
from curate.pool.containers.arrow import arrow_faults
from curate.pool.containers.footer import read_footer
from curate.pool.containers.magic import HEAD, Kind, find_kind
from curate.pool.cuts import GroupRange, LineRange
from curate.pool.files import LOCAL, PoolFile, open_checked, read_anywhere, read_head
from curate.pool.groupcuts import cut_groups
from curate.pool.linecuts import cut_lines
from curate.pool.records import JSON_LINES, describe_container

# To start the processes that read a range takes a twentieth of the work that it is, on two cores.
RANGE_BYTES = 2**29
MOST_RANGES = 128


def cut_file(file: PoolFile) -> Sequence[LineRange | GroupRange] | None:
    """Return a file's ranges in order; None for one that is read in one piece, or cannot be read."""
    if file.digest or file.split or not file.url.startswith(LOCAL):
        return None
    with suppress(OSError, UserError):
        if find_kind(read_head(file, HEAD)) is Kind.PARQUET:
            return _cut_table(file)
        path = Path(file.url.removeprefix(LOCAL))
        total = path.stat().st_size
        if total > RANGE_BYTES and describe_container(file) == JSON_LINES:
            return cut_lines(path, _range_size(total))
    return None


def _cut_table(file: PoolFile) -> list[GroupRange] | None:
    """Return the ranges of a Parquet file; None for one that is read in one piece."""
    with open_checked(file) as stream, arrow_faults(file.url, Kind.PARQUET):
        handle = read_anywhere(stream)
        footer = read_footer(handle)
        total = sum(footer.sizes)
        return cut_groups(handle, footer, _range_size(total)) if total > RANGE_BYTES else None


def _range_size(total: int) -> int:
    """Return how many bytes a range has at least."""
    size = RANGE_BYTES
    while total > size * MOST_RANGES:
        size *= 2
    return size
