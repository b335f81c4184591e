"""Segments: answers of one engine in a bucket, which machines put there and which never change.

    s3://bucket/curate/completions/ENGINE/DIGEST.jsonl.gz
    {"key": "3f...", "time": 1764500000.25, "completion": {...}, "engine": "openai", "model": "m"}
    {"key": "3f...", "time": 1764500000.25, "completion": null, ...}    that answer was of no use

ENGINE digests what identifies a model, DIGEST the segment: to put one twice is to put it once, and one
that is damaged shows.
"""

import gzip
import hashlib
import logging
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import orjson

from curate.core.jsontypes import JSON
from curate.core.remotefolder import RemoteFolder
from curate.llm.cache import read_completion

LOG = logging.getLogger("curate")
FOLDER = "completions"
END = ".jsonl.gz"
FILES_AT_ONCE = 64


@dataclass(frozen=True)
class SharedAnswer:
    """An answer as machines tell it to one another, or that it was of no use: without a completion.

    The fields are the columns of the cache. Key and time together mean one answer of one machine.
    """

    key: str
    time: float
    completion: dict[str, JSON] | None
    engine: str = ""
    model: str = ""


class Segments:
    """The segments of an engine in the bucket of a store. Every method fails as RemoteFolder does."""

    def __init__(self, bucket: str, engine: str) -> None:
        self._folder = RemoteFolder(f"{bucket}/{FOLDER}/{engine}")

    def names(self) -> set[str]:
        """Return the names of all segments that are there."""
        files: Iterable[str] = ()
        with suppress(FileNotFoundError):
            files = self._folder.files()
        return {name for name in files if name.endswith(END) and "/" not in name}

    def put(self, answers: Sequence[SharedAnswer]) -> str:
        """Put a segment of these answers there; return its name."""
        with TemporaryDirectory() as folder:
            path = write_segment(answers, Path(folder))
            self._folder.put([path], [path.name])
        return path.name

    def get(self, names: Sequence[str], folder: Path) -> None:
        """Copy segments to a folder of this machine."""
        for start in range(0, len(names), FILES_AT_ONCE):
            part = names[start : start + FILES_AT_ONCE]
            self._folder.get(part, [folder / name for name in part])


def write_segment(answers: Sequence[SharedAnswer], folder: Path) -> Path:
    """Write a segment of these answers to a folder; return its path."""
    lines = b"".join(map(answer_line, answers))
    data = gzip.compress(lines, mtime=0)
    path = folder / (_digest(data) + END)
    path.write_bytes(data)
    return path


def read_segment(path: Path) -> list[SharedAnswer]:
    """Return the answers of a segment.

    Raises:
        ValueError: it is not as it was put, or of a later version.
    """
    data = path.read_bytes()
    if _digest(data) + END != path.name:
        raise ValueError("it is not as it was written")
    return [read_answer(line) for line in gzip.decompress(data).splitlines()]


def answer_line(answer: SharedAnswer) -> bytes:
    """Return an answer as a line of JSON."""
    return orjson.dumps(asdict(answer)) + b"\n"


def read_answer(line: bytes) -> SharedAnswer:
    """Return the answer of a line of JSON.

    Raises:
        ValueError: it is none, or one of a later version.
    """
    try:
        answer = SharedAnswer(**orjson.loads(line))
        if answer.completion is not None:
            read_completion(orjson.dumps(answer.completion))
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"a later version wrote it: {error}") from error
    if not _is_sound(answer):
        raise ValueError("one of its fields is of another type")
    return answer


def _is_sound(answer: SharedAnswer) -> bool:
    """Return whether the fields have their types: a file takes others, and nobody can read it then."""
    completion = answer.completion or {"text": "", "finish": ""}
    texts = (answer.key, answer.engine, answer.model, completion["text"], completion["finish"])
    is_time = isinstance(answer.time, int | float) and not isinstance(answer.time, bool)
    return is_time and all(isinstance(text, str) for text in texts)


def shared_bytes(bucket: str) -> int:
    """Return what the answers in the bucket of a store take, of all engines."""
    with suppress(FileNotFoundError):
        return sum(file.bytes for file in RemoteFolder(f"{bucket}/{FOLDER}").files().values())
    return 0


def _digest(data: bytes) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()
