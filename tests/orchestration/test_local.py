"""The flow's local server: closed to all but its run, and gone with it."""

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest

from curate.core.errors import UserError
from curate.orchestration.history import ASIDE, DATABASE, history_stamp
from curate.orchestration.local import local_server
from tests.terminal import REPO, restore_signals, wait_until

pytestmark = pytest.mark.system
HOLDER = """
import os, time
from curate.orchestration.local import local_server
with local_server() as variables:
    print("up", flush=True)
    {end}
"""
WRITING_SERVER = """
import itertools, os, sys, threading
from pathlib import Path
from curate.orchestration.server import _watch

def write():
    for number in itertools.count():
        os.close(os.open(str(number), os.O_CREAT | os.O_WRONLY))

for _ in range(4):
    threading.Thread(target=write, daemon=True).start()
while len(os.listdir()) < 1000:
    pass
_watch(None, Path.cwd())
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Return a cache of its own for the servers of this module, so that the first alone migrates."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CURATE_CACHE", str(folder))
        patch.setenv("http_proxy", "http://127.0.0.1:9")
        yield folder


def ask(url: str, headers: dict[str, str]) -> tuple[int, dict[str, str]]:
    """Return status and headers of the list of all flow runs, with their recipes."""
    request = urllib.request.Request(
        f"{url}/flow_runs/filter",
        data=b"{}",
        headers={"Content-Type": "application/json", "Origin": "http://evil.example", **headers},
    )
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=600) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def server_of(variables: Mapping[str, str]) -> psutil.Process:
    """Return the process that listens where these variables lead, and nowhere else."""
    port = urlsplit(variables["PREFECT_API_URL"]).port
    for child in psutil.Process().children():
        listening = [c.laddr for c in child.net_connections() if c.status == "LISTEN"]
        if listening == [("127.0.0.1", port)]:
            return child
    raise AssertionError(f"no process of ours listens at port {port} of this machine alone")


def past(cache: Path) -> list[tuple[str]]:
    """Return the names of the flow runs that are recorded."""
    with closing(sqlite3.connect(cache / "prefect" / DATABASE)) as database:
        return database.execute("select name from flow_run").fetchall()


def test_a_database_of_another_prefect_is_moved_aside(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = cache / "prefect" / DATABASE
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('of the future')")
        database.commit()
    foreign = path.read_bytes()
    with local_server() as variables:
        assert ask(variables["PREFECT_API_URL"], {})[0] == 401
    assert past(cache) == []
    assert path.with_name(ASIDE).read_bytes() == foreign
    assert "begins anew" in caplog.text and "did not start" in caplog.text


def test_nobody_else_reads_what_the_server_holds(cache: Path) -> None:
    """What its user can mend is no reason to forget how it went."""
    before = history_stamp()
    with pytest.raises(UserError, match="at fault"), local_server() as variables:
        url, auth = variables["PREFECT_API_URL"], variables["PREFECT_API_AUTH_STRING"]
        status, headers = ask(url, {})
        assert status == 401
        assert "access-control-allow-origin" not in {name.lower() for name in headers}
        basic = b64encode(auth.encode()).decode()
        status, headers = ask(url, {"Authorization": f"Basic {basic}"})
        assert status == 200
        assert "access-control-allow-origin" not in {name.lower() for name in headers}
        server = server_of(variables)
        assert os.getsid(server.pid) == server.pid
        folder = Path(server.cwd())
        assert folder.stat().st_mode & 0o077 == 0
        raise UserError("at fault")
    assert not server.is_running()
    assert not folder.exists()
    assert history_stamp() not in (None, before)
    assert past(cache) == []


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_past_runs_are_remembered_as_they_were_whatever_becomes_of_this_one(
    cache: Path, error: type[BaseException], caplog: pytest.LogCaptureFixture
) -> None:
    remember(cache)
    before = history_stamp()
    with pytest.raises(error), local_server():
        raise error("at fault")
    assert past(cache) == [("past",)]
    assert history_stamp() == before
    assert caplog.text == ""


def remember(cache: Path) -> None:
    """Record a run in a database that a server has made."""
    if not (cache / "prefect" / DATABASE).exists():
        with local_server():
            pass
    with closing(sqlite3.connect(cache / "prefect" / DATABASE)) as database:
        database.execute("delete from flow_run")
        database.execute("pragma foreign_keys = off")
        database.execute("insert into flow_run (id, name, flow_id) values ('1', 'past', '1')")
        database.commit()


def test_a_start_that_takes_too_long_is_told_and_takes_no_record_along(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember(cache)
    before = history_stamp()
    monkeypatch.setattr("curate.orchestration.local.START_SECONDS", 0.2)
    with pytest.raises(TimeoutError, match=r"killed, or slower than 0.2 s"), local_server():
        pass
    assert history_stamp() == before


def test_a_server_that_does_not_end_is_told_and_its_record_kept(
    cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    remember(cache)
    before = history_stamp()
    monkeypatch.setattr("curate.orchestration.local.STOP_SECONDS", 0.5)
    with local_server() as variables:
        server_of(variables).suspend()
    assert "did not end within 0.5 s: its record of this run may lack the end" in caplog.text
    assert history_stamp() != before
    assert past(cache) == [("past",)]


def test_a_server_ends_with_a_run_whose_terminal_is_closed(cache: Path) -> None:
    """With one that is killed, too: test_flowends."""
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(end="time.sleep(600)")],
        cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=restore_signals,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    (server,) = psutil.Process(holder.pid).children()
    folder = Path(server.cwd())
    os.killpg(holder.pid, signal.SIGHUP)
    assert holder.wait() == -signal.SIGHUP
    wait_until(lambda: not server.is_running() or server.status() == "zombie")
    wait_until(lambda: not folder.exists())


def test_a_server_that_still_writes_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "prefect"
    folder.mkdir()
    server = subprocess.run(
        [sys.executable, "-c", WRITING_SERVER],
        cwd=folder, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(REPO)}, timeout=1_800,
    )  # fmt: skip
    assert server.returncode == 0
    assert not folder.exists()
