"""A server on this machine that answers for data sets as the Hugging Face Hub does."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.httpserver import serving

API = "/api/datasets/"


@dataclass
class DataHub:
    """One data set: its files at each commit, its branches, and whether its owner gates it.

    requests: method, path and range of all that was asked.
    """

    repo: str
    commits: Mapping[str, Mapping[str, bytes]]
    branches: dict[str, str]
    gated: bool = False
    url: str = ""
    requests: list[str] = field(default_factory=list)


class Refusal(Exception):
    """A status with the hub's name of an error."""

    def __init__(self, status: int, code: str) -> None:
        self.status, self.code = status, code


class DataHubHandler(BaseHTTPRequestHandler):
    """Answers about repository, revision, tree and files."""

    hub: DataHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(b"")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self._answer(self.rfile.read(int(self.headers["Content-Length"])))

    def _answer(self, body: bytes) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        try:
            if path.startswith(API):
                self._send(200, json.dumps(self._api(path.removeprefix(API), body)).encode())
            else:
                self._file(path)
        except Refusal as refusal:
            self._send(refusal.status, b"{}", {"X-Error-Code": refusal.code})

    def _api(self, path: str, body: bytes) -> object:
        if not path.startswith(self.hub.repo):
            raise Refusal(401, "RepoNotFound")
        what, _, rest = path.removeprefix(self.hub.repo).strip("/").partition("/")
        if what in ("", "revision"):
            commit = self._commit(rest or "main")
            gated = "manual" if self.hub.gated else False
            siblings = [{"rfilename": name} for name in self.hub.commits[commit]]
            return {"id": self.hub.repo, "sha": commit, "gated": gated, "siblings": siblings}
        if self.hub.gated:
            raise Refusal(401, "GatedRepo")
        if what == "auth-check":
            return {}
        revision, _, inner = rest.partition("/")
        tree = self._tree(self._commit(revision))
        if what == "paths-info":
            paths = (
                json.loads(body)["paths"] if body[:1] == b"{" else parse_qs(body.decode())["paths"]
            )
            return [entry for entry in tree if entry["path"] in paths]
        below = [
            entry for entry in tree if str(entry["path"]).startswith(f"{inner}/" if inner else "")
        ]
        if "recursive=true" in self.path.lower():
            return below
        depth = inner.count("/") + 2 if inner else 1
        return [entry for entry in below if str(entry["path"]).count("/") + 1 == depth]

    def _commit(self, revision: str) -> str:
        if revision in self.hub.commits:
            return revision
        if revision not in self.hub.branches:
            raise Refusal(404, "RevisionNotFound")
        return self.hub.branches[revision]

    def _tree(self, commit: str) -> list[dict[str, object]]:
        files = self.hub.commits[commit]
        folders = {name[:i] for name in files for i, letter in enumerate(name) if letter == "/"}
        return [
            *({"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in folders),
            *(
                {"type": "file", "path": name, "oid": _etag(data), "size": len(data)}
                for name, data in files.items()
            ),
        ]

    def _file(self, path: str) -> None:
        start = f"/datasets/{self.hub.repo}/resolve/"
        if not path.startswith(start):
            raise Refusal(401, "RepoNotFound")
        if self.hub.gated:
            raise Refusal(401, "GatedRepo")
        revision, _, name = path.removeprefix(start).partition("/")
        commit = self._commit(revision)
        data = self.hub.commits[commit].get(name)
        if data is None:
            raise Refusal(404, "EntryNotFound")
        headers = {"ETag": f'"{_etag(data)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if "Range" not in self.headers:
            self._send(200, data, headers)
            return
        first, _, last = self.headers["Range"].removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1 if last else None]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._send(206, part, {**headers, "Content-Range": span})

    def _send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def _etag(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve_datahub(hub: DataHub) -> Iterator[DataHub]:
    """Yield the hub with its address."""
    handler = type("Handler", (DataHubHandler,), {"hub": hub})
    with serving(handler) as hub.url:
        yield hub
