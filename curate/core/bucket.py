"""A store in a bucket, with a folder of this machine for what is read and written.

    s3://bucket/curate/exact-0123456789abcdef/manifest.json         put last, and only if there is none
    s3://bucket/curate/exact-0123456789abcdef/DIGEST/rows.parquet   DIGEST: of the artifact's files

An artifact of the bucket is brought into the folder and checked there; one that is made is put into the
bucket before it appears in the folder. Of two machines that make the same artifact at once, the first
to put a manifest prevails, and the other takes what that one made. Their files do not mix, since their
places hold their digest.
"""

import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from curate.core.cachefolder import SETTING, cache_root
from curate.core.checksummed import load_checksummed
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.lazy import lazy_module
from curate.core.remotefaults import DRIVERS
from curate.core.remotefolder import RemoteFile, RemoteFolder
from curate.core.store import (
    ARTIFACT,
    LOG,
    MANIFEST,
    Artifact,
    Computation,
    Store,
    StoreEntry,
    folder_name,
)
from curate.core.wholeness import FileRecord, damaged_files
from curate.core.workspace import ABANDONED_SECONDS, workspace
from curate.core.writable import written_below

if TYPE_CHECKING:
    import fsspec
else:
    fsspec = lazy_module("fsspec")

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
RENEWAL_SECONDS = 24 * 3600.0
# Folders of this machine have no need of a driver, and what is on the web cannot be written.
UNFIT = frozenset(("file", "local", "memory", "http", "https"))


def check_address(address: str) -> str:
    """Return the address of a store as a recipe has it, with the home folder in place of a ~.

    Raises:
        ValueError: it is neither a path nor the URL of a place that fsspec can write to.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", address)
    if scheme is None:
        return str(Path(address).expanduser()) if address.startswith("~") else address
    writable = scheme[1] in fsspec.available_protocols() and scheme[1] not in UNFIT
    if not writable or not URL.fullmatch(address) or "::" in address:
        raise ValueError(
            f"{scheme[0]} is not supported: give the path of a folder of this machine "
            f"(one with a colon in its name is written ./{scheme[0]}...), or the URL of a bucket, such "
            "as s3://bucket/curate"
        )
    return address.rstrip("/")


def is_bucket(address: str) -> bool:
    """Return whether the address of a store leads to a bucket."""
    return URL.fullmatch(address) is not None


def is_cloud(address: str) -> bool:
    """Return whether an address leads to a cloud's bucket: to no host that it names itself.

    A run folder may come from anyone; reading it must not send requests wherever its maker likes.
    """
    protocol, separator, place = address.partition("://")
    return bool(separator) and protocol in DRIVERS and "::" not in place and "@" not in place


def local_folder(address: str) -> Path:
    """Return the folder of this machine that a store works in, which need not exist."""
    return cache_folder(address) if is_bucket(address) else Path(address)


def open_store(address: str) -> Store:
    """Return the store that a recipe names: a folder, or a bucket by its URL.

    Raises:
        UserError: there can be no such folder.
    """
    return BucketStore(address) if is_bucket(address) else Store(Path(address))


def cache_folder(url: str) -> Path:
    """Return the folder of this machine for a bucket's artifacts: CURATE_CACHE/stores/..."""
    label = re.sub(r"[^A-Za-z0-9.-]+", "-", url.partition("://")[2])[:60].strip("-.")
    return cache_root() / "stores" / f"{label}-{digest_of(url)[:8]}"


class BucketStore(Store):
    """Artifacts in a bucket, or whatever else fsspec has a driver for that can write.

    Args:
        url: of the folder in the bucket.
        root: the folder of this machine, the same on all machines that work on one run; below
            CURATE_CACHE if None.
    """

    def __init__(self, url: str, root: Path | None = None) -> None:
        self.bucket = RemoteFolder(url.rstrip("/"))
        super().__init__(root or cache_folder(self.bucket.url), SETTING)

    @property
    def address(self) -> str:
        """Return what a recipe calls the store."""
        return self.bucket.url

    def fetch(self, name: str) -> Artifact | None:
        """Return the bucket's artifact of a folder's name, brought to this machine."""
        manifest = self._manifest(name)
        if manifest is not None and not self._is_here(name, manifest):
            self._bring(name, manifest)
        return super().fetch(name)

    def look_up(self, computation: Computation) -> Artifact | None:
        """Return the step's artifact by its manifest alone, brought to this machine."""
        local = super().look_up(computation)
        if local is None and self.fetch(folder_name(computation)) is not None:
            local = super().look_up(computation)
        return local

    def entries(self) -> list[StoreEntry]:
        """Return what lies in the bucket under the names of artifacts, but for what is being put."""
        files: dict[str, list[RemoteFile]] = {}
        listing = self.bucket.files()
        for path, file in listing.items():
            files.setdefault(path.partition("/")[0], []).append(file)
        entries = [
            StoreEntry(name, sum(f.bytes for f in files[name]), max(f.changed for f in files[name]))
            for name in sorted(filter(ARTIFACT.fullmatch, files))
        ]
        young = time.time() - ABANDONED_SECONDS
        return [e for e in entries if f"{e.name}/{MANIFEST}" in listing or e.used < young]

    def damage(self, name: str) -> list[str]:
        """Return the files of an artifact of the bucket that are not as they were written."""
        data = self._manifest(name)
        with self._workspace() as temporary, suppress(ValueError, KeyError, TypeError):
            return [MANIFEST] if data is None else self._download(name, data, temporary)
        return [MANIFEST]

    def remove(self, name: str) -> None:
        """Remove an artifact from the bucket, its manifest first."""
        self.bucket.remove(f"{name}/{MANIFEST}")
        self.bucket.remove(name, recursive=True)

    def _find_whole(self, computation: Computation) -> Artifact | None:
        """Return what the bucket holds. What this machine alone holds is put there by `_build`."""
        name = folder_name(computation)
        manifest = self._manifest(name)
        if manifest is None:
            return None
        last_use = self._last_use(name)
        local = self._find_local(computation)
        if local is None or not self._is_here(name, manifest):
            self._bring(name, manifest)
            local = self._find_local(computation)
        if local is not None and not local.unanswered and last_use < time.time() - RENEWAL_SECONDS:
            # A bucket's only mark of when an artifact was last used. Who may only read leaves none.
            with suppress(UserError):
                self.bucket.write(f"{name}/{MANIFEST}", manifest)
        return local

    def _build(self, computation: Computation) -> Artifact:
        local = self._find_local(computation)
        if local is None or local.unanswered:
            for artifact in computation.reads:
                self._bring_input(artifact)
            return super()._build(computation)
        self._put(local.path, local.path.name)
        return self._find_whole(computation) or super()._build(computation)

    def _bring_input(self, artifact: Artifact) -> None:
        """Bring what a step reads to this machine, where another one has made it."""
        name = artifact.path.name
        local = super().fetch(name)
        if local is None or local.digest != artifact.digest:
            local = self.fetch(name)
        if local is None or local.digest != artifact.digest:
            raise UserError(f"store: {self.bucket.url}/{name} is gone or was replaced; run again")

    def _publish(self, temporary: Path, computation: Computation) -> None:
        name = folder_name(computation)
        if not self._put(temporary, name):
            # Another machine was first; what it put prevails, unless it is damaged or not complete.
            if self.find(computation) is not None:
                return
            self.bucket.write(f"{name}/{MANIFEST}", (temporary / MANIFEST).read_bytes())
        self._replace(temporary, name)

    def _replace(self, temporary: Path, name: str) -> None:
        """Move an artifact to its place in the folder of this machine."""
        final = self.root / name
        if final.exists():
            shutil.rmtree(final)
        self._move(temporary, final)

    def _put(self, folder: Path, name: str) -> bool:
        """Put an artifact into the bucket; return whether its manifest is the one that is there."""
        data = (folder / MANIFEST).read_bytes()
        manifest = load_checksummed(data)
        files = [*manifest["files"]]
        self.bucket.put([folder / file for file in files], _places(name, manifest["digest"], files))
        return self.bucket.create(f"{name}/{MANIFEST}", data)

    def _bring(self, name: str, data: bytes) -> None:
        """Copy an artifact of the bucket into the folder of this machine, unless it is damaged."""
        with self._workspace() as temporary, suppress(ValueError, KeyError, TypeError):
            if damaged := self._download(name, data, temporary):
                url = self.bucket.url
                LOG.warning("%s/%s: %s is damaged in the bucket", url, name, damaged[0])
                return
            (temporary / MANIFEST).write_bytes(data)
            self._replace(temporary, name)

    @contextmanager
    def _workspace(self) -> Iterator[Path]:
        with written_below(self.root, self.setting), workspace(self.root / "tmp") as temporary:
            yield temporary

    def _download(self, name: str, data: bytes, folder: Path) -> list[str]:
        """Copy an artifact's files into a folder; return those that are damaged.

        Raises:
            ValueError, KeyError, TypeError: the manifest itself is.
        """
        manifest = load_checksummed(data)
        files = _safe_names(manifest["files"])
        self.bucket.get(_places(name, manifest["digest"], files), [folder / file for file in files])
        return damaged_files(folder, files)

    def _manifest(self, name: str) -> bytes | None:
        """Return the manifest of an artifact of the bucket, None if there is none."""
        return self.bucket.read(f"{name}/{MANIFEST}")

    def _is_here(self, name: str, manifest: bytes) -> bool:
        """Return whether the folder of this machine has an artifact with this manifest."""
        with suppress(OSError):
            return (self.root / name / MANIFEST).read_bytes() == manifest
        return False

    def _last_use(self, name: str) -> float:
        """Return when this machine last used an artifact; 0 if it does not have it."""
        with suppress(OSError):
            return (self.root / name).stat().st_mtime
        return 0.0


def _places(name: str, digest: str, files: Iterable[str]) -> list[str]:
    """Return where the files of an artifact lie in the bucket."""
    return [f"{name}/{digest}/{file}" for file in files]


def _safe_names(files: Mapping[str, FileRecord]) -> Mapping[str, FileRecord]:
    """Return the files of a manifest, none of which leads out of its folder.

    Raises:
        ValueError: one does.
    """
    paths = [PurePosixPath(name) for name in files]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ValueError("a file of the manifest leads out of its folder")
    return files
