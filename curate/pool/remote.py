"""Files behind URLs: buckets, web servers and whatever else fsspec has a driver for.

s3://bucket/pool/            a folder
gs://bucket/pool/*.jsonl     a glob
https://host/rows.jsonl      a file; a folder ends with a slash, and its page links to its files
"""

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import IO, Any
from urllib.parse import unquote

import fsspec

from curate.core.errors import UserError
from curate.core.faults import causes, one_line
from curate.pool.globs import glob_depth, glob_matcher, split_glob

WEB = ("http://", "https://")
# By protocol the extra that brings its driver, and the package that is one.
DRIVERS = {
    **dict.fromkeys(("s3", "s3a"), ("s3", "s3fs")),
    **dict.fromkeys(("gs", "gcs"), ("gcs", "gcsfs")),
    **dict.fromkeys(("az", "abfs", "abfss"), ("azure", "adlfs")),
}
CREDENTIALS = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and for a server of another "
    "kind AWS_ENDPOINT_URL; FSSPEC_S3='{\"anon\": true}' reads a public bucket",
    "gcs": 'set GOOGLE_APPLICATION_CREDENTIALS; FSSPEC_GCS=\'{"token": "anon"}\' reads a public bucket',
    "azure": "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT_NAME and "
    "AZURE_STORAGE_ACCOUNT_KEY",
}
REFUSALS = frozenset(
    ("NoCredentialsError", "PartialCredentialsError", "ClientAuthenticationError", "PermissionError",
     "DefaultCredentialsError", "RefreshError")
)  # fmt: skip
LIBRARIES = ("aiohttp", "aiobotocore", "botocore", "s3fs", "google", "gcsfs", "azure", "adlfs", "httpx",
             "httpx2", "huggingface_hub")  # fmt: skip


@dataclass(frozen=True)
class RemotePlace:
    """What a URL leads to: the names of the files there.

    base: what of their addresses stands before the names.
    pattern: that the names match, of a glob.
    alone: it is one file, and no folder.
    """

    filesystem: Any
    chained: Sequence[str]
    base: str
    names: Sequence[str]
    pattern: str = ""
    alone: bool = False

    def url(self, name: str) -> str:
        """Return the address of a file."""
        return "::".join([self.filesystem.unstrip_protocol(self.base + name), *self.chained])

    def label(self, name: str) -> str:
        """Return what row ids call a file: of an address on the web no query and no escapes."""
        web = self.base.startswith(WEB)
        return unquote(name.partition("?")[0]) if web else name

    def read(self, name: str) -> str:
        """Return the text of a small file."""
        text: str = self.filesystem.cat_file(self.base + name).decode("utf-8-sig")
        return text


def list_remote(path: str) -> RemotePlace:
    """Return what a URL leads to.

    Raises:
        UserError: it cannot be reached.
    """
    with reaching(path):
        filesystem, root = fsspec.core.url_to_fs(path)
        _, *chained = path.split("::")
        if _is_alone(filesystem, root):
            start = root.partition("?")[0].rfind("/") + 1
            return RemotePlace(filesystem, chained, root[:start], [root[start:]], alone=True)
        base, pattern = root.rstrip("/") + "/", ""
        if root.startswith(WEB):
            base, pattern = split_glob(root, lambda part: False)
        elif not filesystem.isdir(root):
            base, pattern = split_glob(root, filesystem.exists)
            if not pattern:
                return _nothing(filesystem, chained, root)
        paths = filesystem.find(base, maxdepth=glob_depth(pattern))
        # The links of a page that sorts its listing otherwise.
        paths = [p for p in paths if not (p.startswith(WEB) and "?" in p)]
        names = sorted(p.removeprefix(base) for p in paths)
        if pattern:
            names = list(filter(glob_matcher(pattern, path), names))
        return RemotePlace(filesystem, chained, base, names, pattern)


def _is_alone(filesystem: Any, root: str) -> bool:
    """Return whether an address is one file's. On the web all are but folders and globs."""
    if not root.startswith(WEB):
        return bool(filesystem.isfile(root))
    place = root.partition("?")[0]
    if place.endswith("/") or "*" in place:
        return False
    filesystem.info(root)
    return True


def _nothing(filesystem: Any, chained: Sequence[str], root: str) -> RemotePlace:
    """Return a place without files, unless there is a reason why none is seen, which is raised."""
    with suppress(FileNotFoundError):
        filesystem.info(root)
    return RemotePlace(filesystem, chained, root, [])


def is_remote_folder(path: str) -> bool:
    """Return whether a URL leads to a folder."""
    if path.startswith(WEB):
        return path.endswith("/")
    with reaching(path):
        filesystem, root = fsspec.core.url_to_fs(path)
        return bool(filesystem.isdir(root))


def open_remote(url: str) -> IO[bytes]:
    """Open a file by its literal address, to be read in any order."""
    filesystem, path = fsspec.core.url_to_fs(url)
    if not url.startswith(WEB) or filesystem.info(path).get("partial"):
        handle: IO[bytes] = filesystem.open(path, "rb")
        return handle
    # A server that sends no part of a file alone.
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    filesystem.get_file(path, copy)
    copy.seek(0)
    return copy


@contextmanager
def reaching(path: str) -> Iterator[None]:
    """Turn what a driver says of a place elsewhere into one sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise remote_fault(error, path) or UserError(
            f"{path}: cannot be reached ({one_line(error, 200)}); check the address, the network and, "
            "where it needs some, your credentials"
        ) from error


def remote_fault(error: Exception, path: str) -> UserError | None:
    """Return the sentence for what a driver or server refuses; None if it is nothing of the kind."""
    extra, package = DRIVERS.get(path.partition("://")[0], ("", ""))
    if isinstance(error, ImportError) and package:
        return UserError(
            f"{path}: the driver of these addresses is not installed; pip install {package}, or curate "
            f"with its extra: pip install 'curate-data[{extra}]'"
        )
    chain = list(causes(error))
    status = next((s for c in chain if isinstance(s := getattr(c, "status", None), int)), None)
    refused = any(type(cause).__name__ in REFUSALS for cause in chain) or status in (401, 403)
    if refused or (extra and "credentials" in str(error)):
        advice = CREDENTIALS.get(extra, "check the address and what may read it")
        return UserError(f"{path}: may not be read ({one_line(error, 120)}); {advice}")
    library = next((c for c in chain if type(c).__module__.split(".")[0] in LIBRARIES), None)
    if status == 404 or (library is None and isinstance(error, FileNotFoundError)):
        return UserError(f"{path}: the server has no such file; check the address")
    if library is not None:
        why = one_line(library, 200)
        return UserError(f"{path}: cannot be reached ({why}); check the address and the network")
    return None
