"""A server on localhost that stores data sets as the Hugging Face Hub does: repos, branches, commits.

It speaks the HTTP API that huggingface_hub's client uses: whoami, create, tree, preupload, LFS, commit.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.httpserver import serving

REPO = re.compile(r"/api/datasets/(?P<repo>[^/]+/[^/]+)(?:/(?P<verb>\w+)/(?P<revision>[^/?]+))?$")
SHA = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Repository:
    """A data set: whether it is private, and the files of each branch."""

    private: bool
    branches: dict[str, dict[str, bytes]] = field(default_factory=lambda: {"main": {}})


@dataclass
class HubServer:
    """What the server stores, and whom it knows: tokens with their account and role."""

    repos: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    url: str = ""
    commits: int = 0

    def answer(self, method: str, path: str, token: str, body: bytes) -> tuple[int, Any]:
        """Return status and JSON."""
        if path.startswith("/object/"):
            self.objects[path.rpartition("/")[2]] = body
            return 200, {}
        if token not in ("writer", "reader"):
            return 401, {"error": "Invalid credentials in Authorization header"}
        if path == "/api/whoami-v2":
            return 200, {"name": "me", "orgs": [{"name": "team"}]}
        if method == "POST" and token == "reader" and path != "/api/validate-yaml":
            return 403, {"error": "You don't have the rights"}
        if path == "/api/validate-yaml":
            return self._validate(json.loads(body)["content"])
        if path == "/api/repos/create":
            return self._create(json.loads(body))
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": self._uploads(json.loads(body))}
        match = REPO.fullmatch(path.partition("?")[0])
        if match is None or match["repo"] not in self.repos:
            return 404, {"error": "Repository not found"}
        return self._of_repo(match["repo"], match["verb"], match["revision"], body)

    def _validate(self, card: str) -> tuple[int, Any]:
        if "license: bad" in card:
            return 400, {"errors": [{"message": '"license" must be one of ...'}], "warnings": []}
        return 200, {"errors": [], "warnings": []}

    def _create(self, wishes: dict[str, Any]) -> tuple[int, Any]:
        name = f"{wishes['organization'] or 'me'}/{wishes['name']}"
        answer = {"url": f"{self.url}/datasets/{name}"}
        if name in self.repos:
            return 409, {**answer, "error": "You already created this dataset repo"}
        private = wishes.get("visibility") == "private" or wishes.get("private") is True
        self.repos[name] = Repository(private)
        return 200, answer

    def _uploads(self, batch: dict[str, Any]) -> list[dict[str, Any]]:
        return [
            {**one, "actions": {"upload": {"href": f"{self.url}/object/{one['oid']}"}}}
            for one in batch["objects"]
        ]

    def _of_repo(
        self, repo: str, verb: str | None, revision: str | None, body: bytes
    ) -> tuple[int, Any]:
        repository = self.repos[repo]
        if verb == "branch":
            is_there = revision in repository.branches
            repository.branches.setdefault(str(revision), dict(repository.branches["main"]))
            return (409, {"error": "exists"}) if is_there else (201, {})
        files = repository.branches.get(revision or "main")
        if files is None:
            return 404, {"error": "Invalid rev id"}
        if verb == "preupload":
            sizes = [(one["path"], one["size"]) for one in json.loads(body)["files"]]
            modes = {path: "lfs" if path.endswith(".parquet") else "regular" for path, _ in sizes}
            return 200, {
                "files": [
                    {"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": None}
                    for path, mode in modes.items()
                ]
            }
        if verb == "commit":
            self._commit(files, body)
            url = f"{self.url}/datasets/{repo}/commit/{SHA}"
            return 200, {"commitUrl": url, "commitOid": SHA, "success": True}
        if verb == "tree":
            return 200, [
                {"type": "file", "path": name, "size": len(data), "oid": SHA}
                for name, data in files.items()
            ]
        siblings = [{"rfilename": name} for name in files]
        return 200, {"id": "o/n", "sha": SHA, "private": repository.private, "siblings": siblings}

    def _commit(self, files: dict[str, bytes], body: bytes) -> None:
        self.commits += 1
        for line in map(json.loads, body.splitlines()):
            value = line["value"]
            if line["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            elif line["key"] == "deletedFile":
                del files[value["path"]]


@contextmanager
def serve_repos() -> Iterator[HubServer]:
    """Yield a hub without a data set, with the tokens `writer` and `reader` of the account `me`."""
    hub = HubServer()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _reply(self) -> None:
            body = self._body()
            token = (self.headers["Authorization"] or "").removeprefix("Bearer ")
            status, value = hub.answer(self.command, self.path, token, body)
            text = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def _body(self) -> bytes:
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers["Content-Length"] or 0))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        do_GET = do_POST = do_PUT = _reply

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with serving(Handler) as hub.url:
        yield hub
