"""The flow's local server: closed to all but its run, and gone with it."""

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from curate.orchestration.history import DATABASE
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
        with opener.open(request, timeout=60) as answer:
            return answer.status, dict(answer.headers)
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers)


def servers() -> list[psutil.Process]:
    return [c for c in psutil.Process().children() if any("server.py" in a for a in c.cmdline())]


def test_nobody_else_reads_what_the_server_holds(cache: Path) -> None:
    with local_server() as variables:
        url, auth = variables["PREFECT_API_URL"], variables["PREFECT_API_AUTH_STRING"]
        status, headers = ask(url, {})
        assert status == 401
        assert "access-control-allow-origin" not in {name.lower() for name in headers}
        basic = b64encode(auth.encode()).decode()
        status, headers = ask(url, {"Authorization": f"Basic {basic}"})
        assert status == 200
        assert "access-control-allow-origin" not in {name.lower() for name in headers}
        (server,) = servers()
        (socket,) = [c for c in server.net_connections() if c.status == "LISTEN"]
        assert socket.laddr.ip == "127.0.0.1"
        assert os.getsid(server.pid) == server.pid
        folder = Path(server.cwd())
        assert folder.stat().st_mode & 0o077 == 0
    assert servers() == []
    assert not folder.exists()
    assert (cache / "prefect" / DATABASE).is_file()


def test_a_database_of_another_prefect_is_made_anew(cache: Path) -> None:
    path = cache / "prefect" / DATABASE
    path.parent.mkdir(exist_ok=True)
    path.unlink(missing_ok=True)
    with closing(sqlite3.connect(path)) as database:
        database.execute("create table alembic_version (version_num text)")
        database.execute("insert into alembic_version values ('of the future')")
        database.commit()
    with local_server() as variables:
        assert ask(variables["PREFECT_API_URL"], {})[0] == 401
    with closing(sqlite3.connect(path)) as database:
        assert database.execute("select count(*) from flow_run").fetchone() == (0,)


def test_a_database_with_which_a_run_went_wrong_is_thrown_away(cache: Path) -> None:
    with pytest.raises(RuntimeError), local_server():
        raise RuntimeError
    assert not (cache / "prefect" / DATABASE).exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["SIGKILL", "SIGHUP"])
def test_a_server_ends_with_its_run(cache: Path, number: signal.Signals) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(end="time.sleep(600)")],
        cwd=REPO, stdout=subprocess.PIPE, text=True, start_new_session=True,
        preexec_fn=restore_signals,
    )  # fmt: skip
    assert holder.stdout is not None
    assert holder.stdout.readline() == "up\n"
    (server,) = psutil.Process(holder.pid).children()
    folder = Path(server.cwd())
    os.killpg(holder.pid, number)
    assert holder.wait() == -number
    wait_until(lambda: not server.is_running() or server.status() == "zombie")
    wait_until(lambda: not folder.exists())


def test_a_server_that_still_writes_leaves_no_folder(tmp_path: Path) -> None:
    folder = tmp_path / "prefect"
    folder.mkdir()
    server = subprocess.run(
        [sys.executable, "-c", WRITING_SERVER],
        cwd=folder, stdin=subprocess.DEVNULL, env={**os.environ, "PYTHONPATH": str(REPO)}, timeout=300,
    )  # fmt: skip
    assert server.returncode == 0
    assert not folder.exists()
