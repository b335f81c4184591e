"""A server on localhost that answers as the Hugging Face Hub does, well or with one fault."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path

from tests.httpserver import serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
API, RESOLVE = "/api/models/", "/resolve/"


@dataclass
class Reply:
    """What the hub sends: a status, headers and a body, of which `cut` bytes never come."""

    status: int = 200
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int = 0


def error(status: int, code: str = "", message: str = "", **headers: str) -> Reply:
    """Return an error as the hub words it."""
    named = {"X-Error-Code": code, "X-Error-Message": message}
    body = json.dumps({"error": message}).encode()
    return Reply(status, body, {**{k: v for k, v in named.items() if v}, **headers})


@dataclass
class Hub:
    """A model, or another reply to every request whose path holds a piece of text."""

    files: Mapping[str, bytes]
    url: str = ""
    faults: dict[str, Reply] = field(default_factory=dict)
    paths: list[str] = field(default_factory=list)

    def reply(self, path: str) -> Reply:
        """Return what is sent to a path."""
        self.paths.append(path)
        for piece, fault in self.faults.items():
            if piece in path:
                return fault
        if RESOLVE in path:
            body = self.files.get(path.split(f"{COMMIT}/")[1])
            if body is None:
                return error(404, "EntryNotFound")
            etag = hashlib.sha256(body).hexdigest()
            return Reply(body=body, headers={"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT})
        if "/tree/" in path:
            tree = [
                {"type": "file", "path": name, "size": len(body), "oid": "0" * 40}
                for name, body in self.files.items()
            ]
            return Reply(body=json.dumps(tree).encode())
        siblings = [{"rfilename": name} for name in self.files]
        return Reply(body=json.dumps({"id": "o/n", "sha": COMMIT, "siblings": siblings}).encode())


@contextmanager
def serve_hub(folder: Path) -> Iterator[Hub]:
    """Yield a hub with the files of a folder as its only model, whatever its name."""
    files = {
        p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()
    }
    hub = Hub(files)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = hub.reply(self.path)
            self.send_response(reply.status)
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(reply.body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(reply.body[: len(reply.body) - reply.cut])
            if reply.cut:
                self.close_connection = True

        do_HEAD = do_GET

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    with serving(Handler) as hub.url:
        yield hub
