"""What is read in a step of its own: a file, some of very many, or a range of a big file.

So engines share the work of a big file, a run that is killed goes on behind the ranges that are read,
and lines or row groups that are added to a file are all that is read again, with those of its last
range. The rows are those of the file as a whole: a range knows the number of its first line or row, and
its layouts are told by the file's first records.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

from curate.core.errors import UserError
from curate.core.jsontext import JsonLimit
from curate.pool.cuts import GroupRange, LineRange
from curate.pool.entries import FileIdentity, FilesOfEntry
from curate.pool.files import PoolFile, digest_url
from curate.pool.parts import head_digest, head_of, is_settled


def entry_steps(entry: FilesOfEntry) -> Iterator[FilesOfEntry]:
    """Yield what of an entry is read in a step of its own each, in the order of its rows."""
    for group in entry.groups:
        ranges = entry.ranges.get(group.urls[0], ()) if len(group.urls) == 1 else ()
        yield from _in_ranges(group, ranges) if ranges else [group]


def _in_ranges(whole: FilesOfEntry, ranges: Sequence[LineRange | GroupRange]) -> list[FilesOfEntry]:
    """Return the ranges of a file; the file where they could be read in other ways than it is."""
    [identity], [url] = whole.identity["files"], whole.urls
    file = PoolFile(url, identity["name"])
    # What is wrong is told by the step.
    with suppress(UserError, JsonLimit):
        head = head_of(file)
        if is_settled(whole.identity, file, head):
            digest = head_digest(head)
            parts = [_range_of(identity, one, digest) for one in ranges]
            return [FilesOfEntry({**whole.identity, "files": [p]}, whole.urls) for p in parts]
    identity = {**identity, "digest": digest_url(file)}
    return [FilesOfEntry({**whole.identity, "files": [identity]}, whole.urls)]


def _range_of(identity: FileIdentity, one: LineRange | GroupRange, head: str) -> FileIdentity:
    """Return what a range of a file is known by."""
    part: FileIdentity = {**identity, "digest": one.digest}
    if isinstance(one, LineRange):
        part["lines"] = {
            "start": one.start, "bytes": one.bytes, "first": one.first, "head": head,
        }  # fmt: skip
    else:
        part["groups"] = {
            "footer": one.footer, "group": one.group, "count": one.count, "first": one.first,
            "head": head,
        }  # fmt: skip
    return part
