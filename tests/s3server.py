"""A server on this machine that speaks S3, and the keys to it."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import ClassVar

import fsspec
import pytest

from tests.httpserver import serving


@contextmanager
def s3_server() -> Iterator[str]:
    """Yield the address of a server that speaks S3."""
    pytest.importorskip("s3fs", reason="the driver of s3://")
    server = pytest.importorskip("moto.server", reason="a server that speaks S3")
    threaded = server.ThreadedMotoServer(port=0)
    threaded.start()
    host, port = threaded.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        threaded.stop()


class FlakyProxy(BaseHTTPRequestHandler):
    """A way to the server on which the next requests fail, each as `faults` says.

    "cut" ends the connection at once, "half" in the middle of the answer; a number is a status.
    refused: methods that are forbidden, such as PUT.
    """

    protocol_version = "HTTP/1.1"
    faults: ClassVar[list[str | int]] = []
    refused: ClassVar[list[str]] = []
    server_address: ClassVar[str]

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.faults.pop(0) if self.faults else None
        fault = 403 if self.command in self.refused else fault
        self.close_connection = fault is not None
        if isinstance(fault, int):
            self.send_error(fault)
        elif fault != "cut":
            self.pass_on(body, half=fault == "half")

    def pass_on(self, body: bytes, *, half: bool) -> None:
        server = http.client.HTTPConnection(self.server_address.removeprefix("http://"))
        server.request(self.command, self.path, body, dict(self.headers))
        answer = server.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("transfer-encoding", "connection", "date", "server"):
                self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if half else data)
        server.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = forward

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def use_s3(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Let this process, and those that it starts, find the server and have its keys."""
    for name, value in keys_of(address).items():
        monkeypatch.setenv(name, value)


def keys_of(address: str) -> dict[str, str]:
    """Return the variables that lead to the server."""
    return {
        "AWS_ENDPOINT_URL": address,
        "AWS_ACCESS_KEY_ID": "key",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


@contextmanager
def faults_between(server: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str | int]]:
    """Put a proxy before a server that speaks S3; yield the list of faults of its next requests."""
    faults: list[str | int] = []
    handler = type("Proxy", (FlakyProxy,), {"faults": faults, "server_address": server})
    with serving(handler) as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        fsspec.filesystem("s3").clear_instance_cache()
        yield faults
