"""Immutable, content-addressed artifacts: the library's identity and resume.

    STORE/exact-0123456789abcdef/manifest.json      written last, so a folder with one is complete
    STORE/exact-0123456789abcdef/evidence.parquet

An artifact's key is a digest of everything that can change its bytes: schema version, step name and
code version, parameters, and the digests of its inputs' contents. Paths and times never enter it.
Its digest is that of its files. The manifest has a checksum of its own, since it also tells what may
differ between equal artifacts: seconds, memory, and the versions of the libraries that made it.
"""

import errno
import logging
import os
import re
import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import orjson

from curate.core.checksummed import PRETTY, dump_checksummed, load_checksummed
from curate.core.digests import digest_file, digest_of
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.memory import peak_memory, released_memory
from curate.core.meter import metered
from curate.core.rows import SCHEMA_VERSION
from curate.core.versions import library_versions
from curate.core.wholeness import FileRecord, damaged_files, is_whole
from curate.core.workspace import workspace
from curate.core.writable import make_folder, written_below

LOG = logging.getLogger("curate")
MANIFEST = "manifest.json"
KEY_CHARS = 20
ARTIFACT = re.compile(rf".+-[0-9a-f]{{{KEY_CHARS}}}")
# What names a folder of artifacts.
SETTING = "name another folder as the recipe's `store`"
Counts = dict[str, Any]


@dataclass(frozen=True)
class Artifact:
    """A finished step's files. `cached` says whether this call found them instead of making them."""

    name: str
    key: str
    path: Path
    digest: str
    files: dict[str, FileRecord]
    counts: Counts
    seconds: float
    peak_memory_mb: float
    versions: dict[str, str]
    cached: bool

    @property
    def unanswered(self) -> int:
        """Return the calls of a model that had no answer, and that a later run may get."""
        return int(self.counts.get("llm", {}).get("unanswered", 0))

    def file(self, name: str) -> Path:
        """Return the path of one of the artifact's files."""
        if name not in self.files:
            raise KeyError(f"artifact {self.path} has no file {name}; it has {sorted(self.files)}")
        return self.path / name


@dataclass(frozen=True)
class StoreEntry:
    """What a store holds under the name of an artifact: its bytes, and when it was last used."""

    name: str
    bytes: int
    used: float

    @property
    def step(self) -> str:
        """Return the name of the step that makes such artifacts."""
        return self.name[: -KEY_CHARS - 1]


class Computation(Protocol):
    """Something to compute whose result is stored: a call of a cached function.

    Its key digests name, version, parameters and the contents of its inputs. `write` may read nothing
    else that could change a byte of what it writes.
    """

    @property
    def name(self) -> str:
        """Return the name of its artifacts."""
        ...

    @property
    def version(self) -> int:
        """Return the version of its code."""
        ...

    @property
    def inputs(self) -> Mapping[str, Artifact]:
        """Return the artifacts whose contents go into the key."""
        ...

    @property
    def params(self) -> Mapping[str, JSON]:
        """Return the other values, JSON-like, that go into the key."""
        ...

    @property
    def reads(self) -> Sequence[Artifact]:
        """Return the artifacts that it opens, in its key or not."""
        ...

    @property
    def key(self) -> str:
        """Return the digest that names its artifact: `key_of` it."""
        ...

    def write(self, out: Path) -> Counts:
        """Write its files to a folder; return its counts."""
        ...


def key_of(computation: Computation) -> str:
    """Return the digest that names a computation's artifact."""
    return digest_of(
        {
            "schema": SCHEMA_VERSION,
            "step": computation.name,
            "version": computation.version,
            "params": dict(computation.params),
            "inputs": {name: a.digest for name, a in computation.inputs.items()},
        }
    )


def folder_name(computation: Computation) -> str:
    """Return the name of the folder of a computation's artifact."""
    return f"{computation.name}-{computation.key[:KEY_CHARS]}"


class Store:
    """A folder of artifacts. `curate.core.bucket.BucketStore` is one whose artifacts lie in a bucket.

    Args:
        root: the folder.
        setting: what to do where it cannot be written: how another one is named.

    Raises:
        UserError: there can be no such folder.
    """

    def __init__(self, root: Path, setting: str = SETTING) -> None:
        self.root, self.setting = root.absolute(), setting
        make_folder(self.root, setting)

    @property
    def address(self) -> str:
        """Return what a recipe calls the store."""
        return str(self.root)

    def path_of(self, computation: Computation) -> Path:
        """Return the folder in which the step's artifact lies or will lie."""
        return self.root / folder_name(computation)

    def fetch(self, name: str) -> Artifact | None:
        """Return an artifact by its folder's name, by its manifest alone; None if there is none."""
        return self._read(self.root / name)

    def entries(self) -> list[StoreEntry]:
        """Return what lies under the names of artifacts, whole or not."""
        names = [p.name for p in self.root.iterdir() if ARTIFACT.fullmatch(p.name) and p.is_dir()]
        return [self._entry(self.root / name) for name in sorted(names)]

    def _entry(self, folder: Path) -> StoreEntry:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        return StoreEntry(folder.name, size, folder.stat().st_mtime)

    def damage(self, name: str) -> list[str]:
        """Return the files of an artifact that are not as they were written; all are read.

        One that has such files is trusted no longer: `find` reads it again.
        """
        artifact = self._read(self.root / name)
        if artifact is None:
            return [MANIFEST]
        damaged = damaged_files(artifact.path, artifact.files)
        if damaged:
            self._record(name).unlink(missing_ok=True)
        return damaged

    def remove(self, name: str) -> None:
        """Remove an artifact, its manifest first, so that a part of it is never taken for whole."""
        (self.root / name / MANIFEST).unlink(missing_ok=True)
        shutil.rmtree(self.root / name)
        self._record(name).unlink(missing_ok=True)

    def find(self, computation: Computation) -> Artifact | None:
        """Return the step's artifact if it is whole: every file there with its recorded digest.

        One for which a model did not answer all calls is none: what failed must not last.
        """
        artifact = self._find_whole(computation)
        return None if artifact is None or artifact.unanswered else artifact

    def look_up(self, computation: Computation) -> Artifact | None:
        """Return the step's artifact by its manifest alone, whose files may be damaged."""
        artifact = self._read(self.path_of(computation))
        if artifact is None or artifact.key != computation.key or artifact.unanswered:
            return None
        return artifact

    def _find_whole(self, computation: Computation) -> Artifact | None:
        return self._find_local(computation)

    def _find_local(self, computation: Computation) -> Artifact | None:
        artifact = self._read(self.path_of(computation))
        if artifact is None or artifact.key != computation.key:
            return None
        if not is_whole(artifact.path, artifact.files, self._record(artifact.path.name)):
            return None
        with suppress(OSError):
            # The time of its last use, by which `curate store gc` knows what runs work with.
            os.utime(artifact.path)
        return artifact

    def _record(self, name: str) -> Path:
        return self.root / "verified" / name

    def ensure(self, computation: Computation) -> Artifact:
        """Return the step's artifact, running the step only if no whole one is stored.

        Where calls had no answer it is run once more, for these; if that fails, what is stored stays.
        """
        stored = self._find_whole(computation)
        if stored is not None and not stored.unanswered:
            return stored
        try:
            return self._build(computation)
        except UserError as error:
            if stored is None:
                raise
            calls = f"{stored.unanswered:,} calls without an answer were asked again in vain"
            LOG.warning("%s: %s (%s); what is stored is used", computation.name, calls, error)
            return stored

    def open(self, computation: Computation, *, cached: bool) -> Artifact:
        """Return the step's artifact without looking into its files, after `find` or `ensure` did."""
        artifact = self._read(self.path_of(computation))
        if artifact is None:
            raise OSError(f"artifact {self.path_of(computation)} vanished during the run")
        return replace(artifact, cached=cached)

    def _read(self, folder: Path) -> Artifact | None:
        try:
            manifest = load_checksummed((folder / MANIFEST).read_bytes())
            return Artifact(
                **{name: manifest[name] for name in _RECORDED}, path=folder, cached=True
            )
        except (OSError, KeyError, TypeError, ValueError):
            return None

    def _build(self, computation: Computation) -> Artifact:
        try:
            with written_below(self.root, self.setting):
                return self._run(computation)
        except OSError as error:
            error.filename = error.filename or str(self.root)
            raise

    def _run(self, computation: Computation) -> Artifact:
        # Inside as well, where the disk still has all that fills it.
        with (
            workspace(self.root / "tmp") as temporary,
            written_below(self.root, self.setting),
        ):
            started = time.perf_counter()
            with released_memory(), peak_memory() as peak, metered([computation.name]):
                counts = computation.write(temporary)
            seconds = time.perf_counter() - started
            manifest = _describe(computation, temporary, counts, seconds, peak[0])
            _write_durably(temporary / MANIFEST, dump_checksummed(manifest))
            self._publish(temporary, computation)
        return self.open(computation, cached=False)

    def _publish(self, temporary: Path, computation: Computation) -> None:
        final = self.path_of(computation)
        if final.exists() and self.find(computation) is None:
            shutil.rmtree(final)
        self._move(temporary, final)

    def _move(self, temporary: Path, final: Path) -> None:
        try:
            temporary.rename(final)
        except OSError as error:
            # Another process published the same artifact first; theirs is as good.
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
        _sync_folder(self.root)


def _digest_files(files: Mapping[str, FileRecord]) -> str:
    return digest_of({name: recorded["digest"] for name, recorded in files.items()})


_RECORDED = ("name", "key", "digest", "files", "counts", "seconds", "peak_memory_mb", "versions")


def _describe(
    computation: Computation, folder: Path, counts: Counts, seconds: float, peak_mb: float
) -> dict[str, Any]:
    files: dict[str, FileRecord] = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        _sync(path)
        name = path.relative_to(folder).as_posix()
        files[name] = {"bytes": path.stat().st_size, "digest": digest_file(path)}
    return {
        "name": computation.name,
        "key": computation.key,
        "version": computation.version,
        "params": dict(computation.params),
        "inputs": {name: artifact.key for name, artifact in computation.inputs.items()},
        "digest": _digest_files(files),
        "files": files,
        "counts": counts,
        "seconds": round(seconds, 3),
        "peak_memory_mb": round(peak_mb, 1),
        "versions": library_versions(),
    }


def write_json(path: Path, value: Any) -> None:
    """Write a value as readable JSON with sorted keys, atomically."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    _write_durably(temporary, orjson.dumps(value, option=PRETTY) + b"\n")
    temporary.replace(path)


def _write_durably(path: Path, data: bytes) -> None:
    path.write_bytes(data)
    _sync(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
