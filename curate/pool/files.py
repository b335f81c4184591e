"""Find pool files and read their records, one at a time, with their positions.

A record is a line of a JSON Lines file or an element of a JSON array. What a file is gets decided by
its content, never by its name: gzip by its magic bytes, an array by its first character.
"""

import gzip
import hashlib
import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import IO, Any

import fsspec
import orjson

from curate.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
SUFFIXES = (".jsonl", ".ndjson", ".json", ".jsonl.gz", ".ndjson.gz", ".json.gz")
LIST_KEYS = ("data", "rows", "examples", "instances", "train")


@dataclass(frozen=True)
class PoolFile:
    """A file of a pool entry: where it is, and the name that row ids carry."""

    url: str
    name: str


@dataclass(frozen=True)
class Record:
    """A raw record: its 1-based line or element number and its bytes or parsed value."""

    position: int
    raw: bytes
    value: Any = None
    parsed: bool = False


def find_files(path: str) -> list[PoolFile]:
    """Return the files that a path, glob or folder names, sorted by name.

    Any fsspec URL works. Names are relative to the part of the path without wildcards.

    Raises:
        UserError: nothing was found there.
    """
    filesystem, root = fsspec.core.url_to_fs(path)
    if filesystem.isdir(root):
        urls = [p for p in filesystem.find(root) if p.endswith(SUFFIXES)]
        base = root.rstrip("/") + "/"
    elif any(c in root for c in "*?["):
        urls = [p for p in filesystem.glob(root) if filesystem.isfile(p)]
        base = _fixed_part(root)
    else:
        urls = [root] if filesystem.isfile(root) else []
        base = root[: root.rfind("/") + 1]
    if not urls:
        wanted = "file matches" if "*" in path else "file or folder is at"
        raise UserError(
            f"no {wanted} {path!r} (looked for {', '.join(SUFFIXES)} under folders); "
            "paths are relative to the folder that curate is started in"
        )
    files = [PoolFile(filesystem.unstrip_protocol(u), u.removeprefix(base)) for u in urls]
    return sorted(files, key=lambda file: file.name)


def digest_url(file: PoolFile) -> str:
    """Return 32 hex digits that identify the file's bytes."""
    with fsspec.open(file.url, "rb") as handle:
        return hashlib.file_digest(handle, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


def read_records(file: PoolFile) -> Iterator[Record]:
    """Yield the file's records in order; blank lines are no records.

    Raises:
        UserError: the file is a JSON document in which no list of rows was found, or is cut off.
    """
    with fsspec.open(file.url, "rb") as raw:
        handle: IO[bytes] | gzip.GzipFile = gzip.GzipFile(fileobj=raw) if _is_gzip(raw) else raw
        try:
            first = _first_line(handle)
            if not _is_document(first):
                yield from _line_records(first, handle)
                return
            rest = handle.read()
            if rest.strip() and _is_json(first):
                # The first of many lines is an array by mistake: one bad row, not a document.
                yield from _line_records(first, io.BytesIO(rest))
            else:
                yield from _document_records(file, first + rest)
        except (EOFError, gzip.BadGzipFile) as error:
            raise UserError(f"{file.url}: the gzip data is damaged or cut off ({error})") from error


def _is_gzip(handle: IO[bytes]) -> bool:
    magic = handle.read(2)
    handle.seek(0)
    return magic == GZIP_MAGIC


def _first_line(handle: Iterable[bytes]) -> bytes:
    """Return everything up to and including the first line that is not blank."""
    head = b""
    for line in handle:
        head += line
        if line.strip(b" \t\r\n\xef\xbb\xbf"):
            break
    return head


def _is_document(head: bytes) -> bool:
    text = head.strip(b" \t\r\n\xef\xbb\xbf")
    if text.startswith(b"["):
        return True
    # A pretty-printed object opens with a line that cannot stand alone.
    return text in (b"{", b"{}") or (text.startswith(b"{") and text.endswith((b"[", b"{")))


def _is_json(data: bytes) -> bool:
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError:
        return False
    return True


def _line_records(head: bytes, rest: Iterable[bytes]) -> Iterator[Record]:
    lines = head.splitlines(keepends=True)
    if lines:
        lines[0] = lines[0].removeprefix(b"\xef\xbb\xbf")
    position = 0
    for source in (lines, rest):
        for line in source:
            position += 1
            stripped = line.strip(b" \t\r\n")
            if stripped:
                yield Record(position, stripped)


def _document_records(file: PoolFile, data: bytes) -> Iterator[Record]:
    try:
        document = orjson.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except orjson.JSONDecodeError as error:
        raise UserError(
            f"{file.url}:{error.lineno}: the JSON document is broken ({error.msg}); "
            "mend it or convert it to JSON Lines, where one bad line costs one row"
        ) from error
    if isinstance(document, dict):
        lists = [document[key] for key in LIST_KEYS if isinstance(document.get(key), list)]
        if len(lists) != 1:
            raise UserError(
                f"{file.url}: the JSON object holds no single list of rows under one of "
                f"{', '.join(LIST_KEYS)}; its keys are {', '.join(list(document)[:12])}"
            )
        document = lists[0]
    for position, value in enumerate(document, start=1):
        yield Record(position, orjson.dumps(value), value, parsed=True)


def _fixed_part(pattern: str) -> str:
    wildcard = min(pattern.index(c) for c in "*?[" if c in pattern)
    return pattern[: pattern.rfind("/", 0, wildcard) + 1]
