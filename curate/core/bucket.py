"""A store in a bucket, with a folder of this machine for what is read and written.

    s3://bucket/curate/exact-0123456789abcdef/manifest.json         put last, and only if there is none
    s3://bucket/curate/exact-0123456789abcdef/DIGEST/rows.parquet   DIGEST: of the artifact's files

An artifact of the bucket is brought into the folder and checked there; one that is made is put into the
bucket before it appears in the folder. Of two machines that make the same artifact at once, the first
to put a manifest prevails, and the other takes what that one made. Their files do not mix, since their
places hold their digest.
"""

import errno
import os
import re
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import fsspec

from curate.core.checksummed import load_checksummed
from curate.core.digests import digest_of
from curate.core.errors import UserError
from curate.core.faults import causes, one_line
from curate.core.remotefaults import DRIVERS, remote_fault
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
from curate.core.workspace import workspace

T = TypeVar("T")
URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+")
# Seconds before a request that failed is sent again.
PAUSES = (0.5, 2.0, 8.0)
RENEWAL_SECONDS = 24 * 3600.0
ANSWERS = (FileNotFoundError, FileExistsError)
OF_THIS_MACHINE = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
FINAL = (PermissionError, ImportError, ValueError, TypeError, NotImplementedError)
# Folders of this machine have no need of a driver, and what is on the web cannot be written.
UNFIT = frozenset(("file", "local", "memory", "http", "https"))
TAKEN = re.compile(r"PreconditionFailed|ConditionalRequestConflict|pre-?conditions?\b", re.I)
NO_BUCKET = re.compile(r"(bucket|container) does not exist|NoSuchBucket|ContainerNotFound", re.I)


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
    cache = Path(os.environ.get("CURATE_CACHE", "~/.cache/curate")).expanduser()
    label = re.sub(r"[^A-Za-z0-9.-]+", "-", url.partition("://")[2])[:60].strip("-.")
    return cache / "stores" / f"{label}-{digest_of(url)[:8]}"


class BucketStore(Store):
    """Artifacts in a bucket, or whatever else fsspec has a driver for that can write.

    Args:
        url: of the folder in the bucket.
        root: the folder of this machine, the same on all machines that work on one run; below
            CURATE_CACHE if None.
    """

    def __init__(self, url: str, root: Path | None = None) -> None:
        self.url = url.rstrip("/")
        super().__init__(root or cache_folder(self.url))

    @property
    def address(self) -> str:
        """Return what a recipe calls the store."""
        return self.url

    def fetch(self, name: str) -> Artifact | None:
        """Return an artifact by its folder's name, brought to this machine; None if there is none."""
        local = super().fetch(name)
        if local is None and (manifest := self._manifest(name)) is not None:
            self._bring(name, manifest)
            local = super().fetch(name)
        return local

    def look_up(self, computation: Computation) -> Artifact | None:
        """Return the step's artifact by its manifest alone, brought to this machine."""
        self.fetch(folder_name(computation))
        return super().look_up(computation)

    def entries(self) -> list[StoreEntry]:
        """Return what lies in the bucket under the names of artifacts, whole or not."""
        sizes: dict[str, int] = {}
        uses: dict[str, float] = {}
        for path, info in self._ask(lambda fs, root: _listing(fs, root)).items():
            name = path.partition("/")[0]
            sizes[name] = sizes.get(name, 0) + info["size"]
            uses[name] = max(uses.get(name, 0.0), _changed_at(info))
        names = sorted(filter(ARTIFACT.fullmatch, sizes))
        return [StoreEntry(name, sizes[name], uses[name]) for name in names]

    def damage(self, name: str) -> list[str]:
        """Return the files of an artifact of the bucket that are not as they were written."""
        data = self._manifest(name)
        with workspace(self.root / "tmp") as temporary, suppress(ValueError, KeyError, TypeError):
            return [MANIFEST] if data is None else self._download(name, data, temporary)
        return [MANIFEST]

    def remove(self, name: str) -> None:
        """Remove an artifact from the bucket, its manifest first."""
        with suppress(FileNotFoundError):
            self._ask(lambda fs, root: fs.rm_file(f"{root}/{name}/{MANIFEST}"))
        with suppress(FileNotFoundError):
            self._ask(lambda fs, root: fs.rm(f"{root}/{name}", recursive=True))

    def _find_whole(self, computation: Computation) -> Artifact | None:
        """Return what the bucket holds. What this machine alone holds is put there by `_build`."""
        name = folder_name(computation)
        manifest = self._manifest(name)
        if manifest is None:
            return None
        last_use = self._last_use(name)
        local = self._find_local(computation)
        if local is None or (local.path / MANIFEST).read_bytes() != manifest:
            self._bring(name, manifest)
            local = self._find_local(computation)
        if local is not None and not local.unanswered and last_use < time.time() - RENEWAL_SECONDS:
            self._renew(name, manifest)
        return local

    def _last_use(self, name: str) -> float:
        """Return when this machine last used an artifact; 0 if it does not have it."""
        with suppress(OSError):
            return (self.root / name).stat().st_mtime
        return 0.0

    def _renew(self, name: str, manifest: bytes) -> None:
        """Put a manifest once more: a bucket's only mark of when an artifact was last used."""
        with suppress(UserError):
            self._ask(lambda fs, root: fs.pipe_file(f"{root}/{name}/{MANIFEST}", manifest))

    def _build(self, computation: Computation) -> Artifact:
        local = self._find_local(computation)
        if local is None or local.unanswered:
            for artifact in computation.reads:
                self.fetch(artifact.path.name)
            return super()._build(computation)
        self._put(local.path, folder_name(computation))
        return self._find_whole(computation) or super()._build(computation)

    def _publish(self, temporary: Path, computation: Computation) -> None:
        name = folder_name(computation)
        if not self._put(temporary, name):
            if self.find(computation) is not None:
                return
            self._put(temporary, name, replace=True)
        self._replace(temporary, name)

    def _replace(self, temporary: Path, name: str) -> None:
        final = self.root / name
        if final.exists():
            shutil.rmtree(final)
        self._move(temporary, final)

    def _manifest(self, name: str) -> bytes | None:
        """Return the manifest of an artifact of the bucket."""
        try:
            data: bytes = self._ask(lambda fs, root: fs.cat_file(f"{root}/{name}/{MANIFEST}"))
        except FileNotFoundError as error:
            self._refuse_missing(error)
            return None
        return data

    def _bring(self, name: str, data: bytes) -> None:
        """Copy an artifact of the bucket into the folder of this machine, unless it is damaged."""
        with workspace(self.root / "tmp") as temporary, suppress(ValueError, KeyError, TypeError):
            if damaged := self._download(name, data, temporary):
                LOG.warning("%s/%s: %s is damaged in the bucket", self.url, name, damaged[0])
                return
            (temporary / MANIFEST).write_bytes(data)
            self._replace(temporary, name)

    def _download(self, name: str, data: bytes, folder: Path) -> list[str]:
        """Copy an artifact's files into a folder; return those that are damaged.

        Raises:
            ValueError, KeyError, TypeError: the manifest itself is.
        """
        manifest = load_checksummed(data)
        files = _safe_names(manifest["files"])
        remote = [f"{name}/{manifest['digest']}/{file}" for file in files]
        local = [str(folder / file) for file in files]
        with suppress(FileNotFoundError):
            self._ask(lambda fs, root: fs.get([f"{root}/{path}" for path in remote], local))
        return damaged_files(folder, files)

    def _put(self, folder: Path, name: str, *, replace: bool = False) -> bool:
        """Put an artifact into the bucket; return whether its manifest is the one that is there."""
        data = (folder / MANIFEST).read_bytes()
        manifest = load_checksummed(data)
        local = [str(folder / file) for file in manifest["files"]]
        remote = [f"{name}/{manifest['digest']}/{file}" for file in manifest["files"]]
        mode = "overwrite" if replace else "create"
        try:
            self._ask(lambda fs, root: fs.put(local, [f"{root}/{path}" for path in remote]))
            self._ask(
                lambda fs, root: fs.pipe_file(f"{root}/{name}/{MANIFEST}", data, mode=mode),
            )
        except FileExistsError:
            return False
        except FileNotFoundError as error:
            self._refuse_missing(error)
            raise
        return True

    def _refuse_missing(self, error: FileNotFoundError) -> None:
        if any(NO_BUCKET.search(str(cause)) for cause in causes(error)):
            raise UserError(
                f"store: {self.url}: there is no such bucket; make it, or check the address"
            ) from error

    def _ask(self, request: Callable[[Any, str], T]) -> T:
        """Return what a request to the bucket comes to; one that fails for a moment is sent again.

        Raises:
            UserError: it fails for good.
            FileNotFoundError: the bucket, or it, is not there.
            FileExistsError: it is there already.
        """
        for pause in (*PAUSES, None):
            try:
                filesystem, root = fsspec.core.url_to_fs(self.url, use_listings_cache=False)
                return request(filesystem, root)
            except ANSWERS:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in OF_THIS_MACHINE:
                    raise
                if any(TAKEN.search(str(cause)) for cause in causes(error)):
                    raise FileExistsError(self.url) from error
                if pause is None or _is_final(error):
                    raise self._fault(error) from error
                LOG.info("%s: asked again in %g s (%s)", self.url, pause, one_line(error, 120))
                time.sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _fault(self, error: Exception) -> UserError:
        fault = remote_fault(error, self.url, "used as a store")
        return UserError(f"store: {fault or f'{self.url}: {one_line(error, 200)}'}")


def _listing(filesystem: Any, root: str) -> dict[str, Any]:
    """Return what is told of each file below a folder, by its path there."""
    paths = filesystem.find(root, detail=True)
    start = filesystem._strip_protocol(root).rstrip("/") + "/"
    return {path.removeprefix(start): info for path, info in paths.items()}


def _changed_at(info: dict[str, Any]) -> float:
    """Return when a file of a bucket was last put; now where its driver does not tell."""
    for name in ("LastModified", "last_modified", "updated", "mtime"):
        value = info.get(name)
        if isinstance(value, str):
            value = datetime.fromisoformat(value)
        if isinstance(value, datetime):
            return value.timestamp()
        if isinstance(value, int | float):
            return float(value)
    return time.time()


def _is_final(error: Exception) -> bool:
    """Return whether an error stays, however often a request is sent: keys, rights, the address."""
    names = {type(cause).__name__ for cause in causes(error)}
    return isinstance(error, FINAL) or bool(names & {"NoCredentialsError"})


def _safe_names(files: Mapping[str, FileRecord]) -> Mapping[str, FileRecord]:
    """Return the files of a manifest, none of which leads out of its folder.

    Raises:
        ValueError: one does.
    """
    paths = [PurePosixPath(name) for name in files]
    if any(path.is_absolute() or ".." in path.parts for path in paths):
        raise ValueError("a file of the manifest leads out of its folder")
    return files
