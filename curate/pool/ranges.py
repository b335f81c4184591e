"""What is read in a step of its own: a file, some of very many, or a range of a big file's lines.

So engines share the work of a big file, a run that is killed goes on behind the ranges that are read,
and lines that are added to a file are all that is read again, with those of its last range. The rows are
those of the file as a whole: a range knows the number of its first line, and its layouts are told by the
file's first records.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from curate.core.errors import UserError
from curate.pool.entries import FileIdentity, FilesOfEntry
from curate.pool.files import PoolFile
from curate.pool.linecuts import LineRange
from curate.pool.parts import head_digest, head_of, is_settled


def entry_steps(entry: FilesOfEntry) -> Iterator[FilesOfEntry]:
    """Yield what of an entry is read in a step of its own each, in the order of its rows."""
    for group in entry.groups:
        ranges = entry.ranges.get(group.urls[0], ()) if len(group.urls) == 1 else ()
        yield from _in_ranges(group, ranges) if ranges else [group]


def _in_ranges(whole: FilesOfEntry, ranges: Sequence[LineRange]) -> list[FilesOfEntry]:
    """Return the ranges of a file; the file where they could be read in other ways than it is."""
    [identity], [url] = whole.identity["files"], whole.urls
    file = PoolFile(url, identity["name"])
    # What is wrong is told by the step.
    with suppress(UserError):
        head = head_of(file)
        if is_settled(whole.identity, file, head):
            digest = head_digest(head)
            return [_range_of(whole, identity, one, digest) for one in ranges]
    return [whole]


def _range_of(
    whole: FilesOfEntry, identity: FileIdentity, lines: LineRange, head: str
) -> FilesOfEntry:
    part: FileIdentity = {
        **identity,
        "digest": lines.digest,
        "lines": {
            "start": lines.start, "bytes": lines.bytes, "first": lines.first, "head": head,
        },
    }  # fmt: skip
    return FilesOfEntry({**whole.identity, "files": [part]}, whole.urls)
