"""The server in a process of its own, as a terminal starts it: an address, an answer, a tidy end."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from curate.core.errors import UserError
from curate.view.app import build_app
from curate.view.context import open_context
from curate.view.server import ViewServer
from tests.terminal import restore_signals


def test_a_server_answers_in_a_thread_and_ends(view_run: Path) -> None:
    server = ViewServer(build_app(open_context(view_run)))
    server.start()
    assert httpx.get(f"http://127.0.0.1:{server.port}/rows").status_code == 403
    with httpx.Client(base_url=f"http://127.0.0.1:{server.port}") as browser:
        assert browser.get(server.url("/rows")).status_code == 200
        page = browser.get("/rows")
        assert "<h1>Rows</h1>" in page.text
        assert "server" not in page.headers
    server.stop()
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{server.port}/rows")


def test_a_port_that_is_taken_is_a_sentence(view_run: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=f"--port {port}: Address already in use; give another"):
            ViewServer(build_app(open_context(view_run)), port)


@pytest.mark.system
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_command_ends_by_a_signal_without_a_word(view_run: Path, number: int) -> None:
    command = [sys.executable, "-m", "curate", "view", str(view_run), "--no-browser"]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        preexec_fn=restore_signals,
    ) as viewer:  # fmt: skip
        assert viewer.stdout is not None
        line = viewer.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line)
        assert address is not None, line
        assert viewer.stdout.readline() == "Ctrl-C ends it\n"
        assert httpx.get(address[0]).status_code == 200
        viewer.send_signal(number)
        assert viewer.stdout.read() == ""
    assert viewer.returncode == 0


@pytest.mark.system
def test_what_is_no_run_is_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "curate", "view", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "is no finished run" in done.stderr
