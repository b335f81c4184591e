"""Files behind URLs: buckets, web servers and whatever else fsspec has a driver for.

s3://bucket/pool/            a folder
gs://bucket/pool/*.jsonl     a glob
https://host/rows.jsonl      a file; a folder ends with a slash, and its page links to its files
"""

import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote

from curate.core.azurelogin import check_login
from curate.core.lazy import lazy_module
from curate.core.remotefaults import reaching
from curate.pool.globs import glob_depth, glob_matcher, split_glob

if TYPE_CHECKING:
    import fsspec
else:
    fsspec = lazy_module("fsspec")

WEB = ("http://", "https://")


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
        filesystem, root = _connected(path)
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


def _connected(path: str) -> tuple[Any, str]:
    """Return the file system of an address, and the path in it."""
    filesystem, root = fsspec.core.url_to_fs(path)
    check_login(filesystem)
    return filesystem, root


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
        filesystem, root = _connected(path)
        return bool(filesystem.isdir(root))


def open_remote(url: str) -> IO[bytes]:
    """Open a file by its literal address, to be read in any order."""
    filesystem, path = _connected(url)
    if not url.startswith(WEB) or filesystem.info(path).get("partial"):
        handle: IO[bytes] = filesystem.open(path, "rb")
        return handle
    # A server that sends no part of a file alone.
    copy = tempfile.TemporaryFile()  # noqa: SIM115
    filesystem.get_file(path, copy)
    copy.seek(0)
    return copy
