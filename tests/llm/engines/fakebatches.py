"""A server on localhost with the batch endpoints of OpenAI's protocol, and limits like its own."""

from __future__ import annotations

import email
import json
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.httpserver import serving
from tests.llm.engines.fakeserver import question, reply

MOST_REQUESTS, MOST_BYTES = 50_000, 200_000_000
# What a batch makes of a call: the line without its custom_id, None for no line at all.
Answer = dict[str, Any] | None
Line = dict[str, Any]
LIVE = {"validating", "in_progress"}


def good(body: dict[str, Any], text: str | None = None) -> Answer:
    """Return a good answer to a call."""
    response = {"status_code": 200, "request_id": "r", "body": json.loads(reply(body, text))}
    return {"id": "batch_req", "response": response, "error": None}


def bad(status: int, body: Any = None) -> Answer:
    """Return the answer to a call that has this status."""
    response = {
        "status_code": status,
        "request_id": "r",
        "body": body or {"error": {"message": "x"}},
    }
    return {"id": "batch_req", "response": response, "error": None}


def lost(code: str) -> Answer:
    """Return the line of a call without an answer."""
    return {"id": "batch_req", "response": None, "error": {"code": code, "message": code}}


class FakeBatches:
    """What such a server has: files, batches, and what is done about them.

    Attributes:
        plan: the answer to a call, by its body and how often a batch had it before.
        looks: how often a batch is looked at before it ends.
        ends: the status at the end, by the number of the batch.
        held: no batch ends until this is set.
        faults: of each path so many requests fail at first (HTTP 500), though the work is done.
        lists: whether it lists its batches.
        absent: it has no such endpoints.
    """

    def __init__(self) -> None:
        self.plan: Callable[[dict[str, Any], int], Answer] = lambda body, before: good(body)
        self.looks = 2
        self.ends: Callable[[int], str] = lambda number: "completed"
        self.held = threading.Event()
        self.held.set()
        self.faults: Counter[str] = Counter()
        self.lists, self.absent = True, False
        self.files: dict[str, bytes] = {}
        self.batches: dict[str, dict[str, Any]] = {}
        self.seen: Counter[str] = Counter()
        self.polls: Counter[str] = Counter()
        self.live = 0
        self.url = ""
        self.lock = threading.Lock()

    def lines(self, batch: dict[str, Any]) -> list[Line]:
        """Return the calls of a batch."""
        return [json.loads(line) for line in self.files[batch["input_file_id"]].splitlines()]

    def upload(self, content: bytes) -> dict[str, Any]:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return {"id": name, "object": "file", "bytes": len(content), "purpose": "batch"}

    def create(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["completion_window"] == "24h"
        name = f"batch_{len(self.batches)}"
        batch = body | {"id": name, "object": "batch", "status": "validating", "errors": None}
        batch |= {"output_file_id": None, "error_file_id": None}
        lines = self.lines(batch)
        batch["request_counts"] = {"total": len(lines), "completed": 0, "failed": 0}
        self.batches[name] = batch
        complaint = self.complaint(batch, lines)
        if complaint:
            errors = {"object": "list", "data": [{"code": "invalid", "message": complaint}]}
            batch |= {"status": "failed", "errors": errors}
        return batch

    def complaint(self, batch: dict[str, Any], lines: list[Line]) -> str | None:
        """Return why the server would refuse a batch."""
        if len(lines) > MOST_REQUESTS or len(self.files[batch["input_file_id"]]) > MOST_BYTES:
            return "too large"
        if len({line["custom_id"] for line in lines}) < len(lines):
            return "a custom_id stands there twice"
        if any(len(line["custom_id"]) > 64 or line["method"] != "POST" for line in lines):
            return "a line is odd"
        return None if {line["url"] for line in lines} == {batch["endpoint"]} else "other endpoints"

    def look(self, name: str) -> dict[str, Any]:
        batch = self.batches[name]
        self.polls[name] += 1
        if batch["status"] in LIVE:
            batch["status"] = "in_progress"
            if self.polls[name] >= self.looks and self.held.is_set():
                self.end(batch, int(name.removeprefix("batch_")))
        return batch

    def end(self, batch: dict[str, Any], number: int) -> None:
        """Answer the calls of a batch, in another order; what has no answer stands in the errors."""
        lines = self.lines(batch)
        random.Random(number).shuffle(lines)
        files: dict[str, list[bytes]] = {"output_file_id": [], "error_file_id": []}
        batch["status"] = self.ends(number)
        for line in lines:
            answer = self.plan(line["body"], self.seen[line["custom_id"]])
            self.seen[line["custom_id"]] += 1
            if answer is not None:
                kind = "output_file_id" if answer["response"] is not None else "error_file_id"
                files[kind].append(json.dumps({"custom_id": line["custom_id"]} | answer).encode())
        for kind, written in files.items():
            if written:
                batch[kind] = self.upload(b"\n".join(written) + b"\n")["id"]
        batch["request_counts"]["completed"] = len(files["output_file_id"])

    def page(self, after: str | None) -> dict[str, Any]:
        """Return a page of batches, the newest first, two of them."""
        names = list(reversed(self.batches))
        start = names.index(after) + 1 if after else 0
        data = [self.batches[name] for name in names[start : start + 2]]
        return {"object": "list", "data": data, "has_more": start + 2 < len(names)}


def handler_of(server: FakeBatches) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers["Content-Length"]))
            with server.lock:
                done = self.post(content)
            self.answer(done)

        def post(self, content: bytes) -> dict[str, Any]:
            if self.path == "/v1/files":
                return server.upload(form_file(self.headers["Content-Type"], content))
            body = json.loads(content)
            if self.path == "/v1/batches":
                return server.create(body)
            server.live += 1
            return dict(json.loads(reply(body)))

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            names = parts.path.removeprefix("/v1/").split("/")
            with server.lock:
                if names == ["batches"]:
                    after = parse_qs(parts.query).get("after", [None])[0]
                    self.answer(server.page(after) if server.lists else None)
                elif names[0] == "batches":
                    self.answer(server.look(names[1]) if names[1] in server.batches else None)
                else:
                    self.answer(server.files.get(names[1]))

        def answer(self, value: dict[str, Any] | bytes | None) -> None:
            path = urlsplit(self.path).path
            kind = next((one for one in server.faults if path.startswith(one)), "")
            failing = server.faults[kind] > 0
            server.faults[kind] -= failing
            status = 500 if failing else 404 if value is None or server.absent else 200
            content = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    return Handler


def form_file(kind: str, content: bytes) -> bytes:
    """Return the file of a form that is for batches."""
    form: Message = email.message_from_bytes(f"Content-Type: {kind}\r\n\r\n".encode() + content)
    parts = {part.get_param("name", header="content-disposition"): part for part in form.walk()}
    purpose, file = parts["purpose"], parts["file"]
    assert purpose.get_payload(decode=True) == b"batch"
    payload = file.get_payload(decode=True)
    assert isinstance(payload, bytes)
    return payload


@contextmanager
def batch_server() -> Iterator[FakeBatches]:
    """Yield a server whose `url` ends in /v1."""
    server = FakeBatches()
    with serving(handler_of(server)) as url:
        server.url = f"{url}/v1"
        yield server


def numbered(body: dict[str, Any]) -> int:
    """Return the number at the end of a question."""
    return int(question(body).removeprefix("q"))
