"""Find pool files and read their records, one at a time, with their positions.

A record is a line of a JSON Lines file or an element of a JSON array. What a file is gets decided by
its content, never by its name: gzip by its magic bytes, an array by its first character.
"""

import gzip
import hashlib
import io
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import IO, Any

import fsspec
import orjson

from curate.errors import UserError

GZIP_MAGIC = b"\x1f\x8b"
BOM = b"\xef\xbb\xbf"
PEEKED_LINES = 2
LONG_INTEGER = re.compile(rb"\d{19}")
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
    raw: bytes = b""
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
    elif filesystem.isfile(root):
        urls = [root]
        base = root[: root.rfind("/") + 1]
    else:
        urls = [p for p in filesystem.glob(root) if filesystem.isfile(p)]
        base = _fixed_part(root)
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
            head = _read_head(handle)
            if not _may_be_document(head):
                yield from _line_records(head, handle)
                return
            data = b"".join(head) + handle.read()
            document = _parse_document(file, data)
            if document is None:
                yield from _line_records([], io.BytesIO(data))
                return
            for position, value in enumerate(document, start=1):
                yield Record(position, value=value, parsed=True)
        except (EOFError, gzip.BadGzipFile, zlib.error) as error:
            raise UserError(f"{file.url}: the gzip data is damaged or cut off ({error})") from error


def _is_gzip(handle: IO[bytes]) -> bool:
    magic = handle.read(2)
    handle.seek(0)
    return magic == GZIP_MAGIC


def _read_head(handle: Iterable[bytes]) -> list[bytes]:
    """Return the lines up to the second that is not blank, without a byte order mark."""
    head: list[bytes] = []
    for line in handle:
        head.append(line if head else line.removeprefix(BOM))
        if sum(map(bool, map(bytes.strip, head))) == PEEKED_LINES:
            break
    return head


def _may_be_document(head: Sequence[bytes]) -> bool:
    """Return whether the lines could open one JSON document, which has to be read as a whole.

    JSON Lines files, which may be huge, are told by a first or second line that is a whole object.
    """
    lines = [line.strip() for line in head if line.strip()]
    if not lines or not lines[0].startswith((b"[", b"{")):
        return False
    if len(lines) == 1:
        return lines[0].startswith(b"[") or _list_in(_parse_or_none(lines[0])) is not None
    if isinstance(_parse_or_none(lines[1]), dict):
        return False
    return _parse_or_none(lines[0]) is None


def parse_json(data: bytes) -> Any:
    """Return the value of strict JSON text; integers of any size stay exact.

    Raises:
        orjson.JSONDecodeError: the data is no JSON or no UTF-8.
    """
    value = orjson.loads(data)
    # orjson turns integers beyond 64 bits into floats; the standard library keeps them.
    return json.loads(data) if LONG_INTEGER.search(data) else value


def _parse_or_none(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        return None


def _list_in(document: Any) -> list[Any] | None:
    """Return the one list of objects that an object holds under a usual name."""
    if not isinstance(document, dict):
        return None
    lists = [document.get(key) for key in LIST_KEYS]
    rows = [rows for rows in lists if isinstance(rows, list) and rows and isinstance(rows[0], dict)]
    return rows[0] if len(rows) == 1 else None


def _parse_document(file: PoolFile, data: bytes) -> list[Any] | None:
    """Return the rows of a JSON document, or None if the data is lines after all."""
    try:
        document = parse_json(data)
    except orjson.JSONDecodeError as error:
        opening = data.lstrip().split(b"\n", 1)[0].strip()
        if opening.startswith(b"{") and opening != b"{":
            return None
        raise UserError(
            f"{file.url}:{error.lineno}: the JSON document is broken ({error.msg}); "
            "mend it or convert it to JSON Lines, where one bad line costs one row"
        ) from error
    if isinstance(document, list):
        return document
    rows = _list_in(document)
    if rows is None:
        raise UserError(
            f"{file.url}: the JSON object holds no single list of rows under one of "
            f"{', '.join(LIST_KEYS)}; its keys are {', '.join(list(document)[:12])}"
        )
    return rows


def _line_records(head: Sequence[bytes], rest: Iterable[bytes]) -> Iterator[Record]:
    for position, line in enumerate(chain(head, rest), start=1):
        if line.strip():
            yield Record(position, line.rstrip(b"\r\n"))


def _fixed_part(pattern: str) -> str:
    wildcard = min((pattern.index(c) for c in "*?[" if c in pattern), default=len(pattern))
    return pattern[: pattern.rfind("/", 0, wildcard) + 1]
