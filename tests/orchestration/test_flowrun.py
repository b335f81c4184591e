"""A run as a flow: the same bytes as without Prefect, and no failure of Prefect's is one of the run."""

import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import psutil
import pytest

from tests.orchestration.workplace import (
    REPO,
    Workplace,
    artifact_bytes,
    environment,
    pool_lines,
    run_files,
)
from tests.terminal import INTERRUPTED, TerminalProcess, wait_until

pytestmark = pytest.mark.system
FAILED = "the run goes on without it"
# Longer than is waited, twice, for an answer of a server of the user's.
HELD_SECONDS = 60.0
SECRET = "sk-0123456789abcdef"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Return the variable of a cache that only this module's runs use."""
    return {"CURATE_CACHE": str(tmp_path_factory.mktemp("cache"))}


def light(root: Path, tiny: Path) -> Workplace:
    workplace = Workplace(root, tiny)
    workplace.write(pool_lines())
    return workplace


def succeed(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, done.stderr
    assert FAILED not in done.stderr
    assert "Traceback" not in done.stderr


@contextmanager
def listener() -> Iterator[tuple[int, list[bytes]]]:
    """Yield a port, and what has been sent to it; it never answers."""
    requests: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                    requests.append(connection.recv(1024))
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield server.getsockname()[1], requests


def test_a_run_without_prefect_imports_neither_it_nor_the_flows(
    finished: Workplace, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    code = (
        "import sys\n"
        "from curate.cli import main\n"
        "try: main()\n"
        "finally: print('LOADED', [m for m in ('prefect', 'curate.orchestration') if m in sys.modules])"
    )
    arguments = finished.command("--set", f"store={store}", "--set", "prove=null")[3:]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments, "--out", str(tmp_path / "run")],
        cwd=REPO, env=environment(), capture_output=True, text=True, timeout=1_800,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "LOADED []" in done.stdout


def test_both_ways_give_the_same_bytes_whatever_lies_in_the_current_folder(
    finished: Workplace, tiny: Path, cache: dict[str, str], tmp_path: Path
) -> None:
    workplace = light(tmp_path / "place", tiny)
    with listener() as (port, requests):
        here = elsewhere(tmp_path / "here", f"http://127.0.0.1:{port}/api")
        proxy = f"http://127.0.0.1:{port}"
        proxies = {n: proxy for n in ("HTTP_PROXY", "http_proxy", "https_proxy", "ALL_PROXY")}
        home = {"HOME": str(here), "NO_PROXY": "example.com", "OPENAI_API_KEY": SECRET, **cache}
        succeed(workplace.run("--prefect", cwd=here, env={**home, **proxies}))
    assert requests == []
    assert artifact_bytes(workplace.store) == artifact_bytes(finished.store)
    assert run_files(workplace.out) == run_files(finished.out)
    assert flow_runs(cache) == [("curate-light", "Completed")]
    behind = made_of(cache)
    assert (behind["ingest"], behind["pool"]) == (set(), {"ingest"})
    assert behind["exact"] == {"pool"}
    assert {"index", "target"} <= behind["score-rds"]
    assert behind["measure"] == {"eval", "finetune"}
    assert "| as many random rows |" in artifact_text(cache, "light-verdict")
    assert str(workplace.out.resolve()) in artifact_text(cache, "light-report")
    # Prefect keeps the recipe, and nothing of the environment.
    database = Path(cache["CURATE_CACHE"], "prefect", "prefect.db").read_bytes()
    assert b"curate-light" in database
    assert SECRET.encode() not in database


@pytest.mark.parametrize("on", ["ray", "dask"])
def test_a_flow_on_a_cluster_gives_the_same_bytes(
    finished: Workplace, tiny: Path, cache: dict[str, str], tmp_path: Path, on: str
) -> None:
    workplace = light(tmp_path / "place", tiny)
    engine = ["-v", "--set", f"run={{on: {on}, workers: 2}}", "--set", "prove=null"]
    done = workplace.run("--prefect", *engine, env=cache)
    succeed(done)
    stored, whole = artifact_bytes(workplace.store), artifact_bytes(finished.store)
    # Without a proof there are fewer steps, and another card.
    assert {name: data for name, data in stored.items() if name not in whole} == {
        name: data for name, data in stored.items() if name.startswith("export-")
    }
    assert {name for name, data in stored.items() if data != whole.get(name, data)} == set()
    assert re.search(r"  score-rds-\w+: made in", done.stderr)
    assert made_of(cache)["exact"] == {"pool"}


def made_of(cache: dict[str, str]) -> dict[str, set[str]]:
    """Return the steps that each step of the newest flow run is shown to be made of."""
    with closing(sqlite3.connect(Path(cache["CURATE_CACHE"], "prefect", "prefect.db"))) as database:
        newest = "select id from flow_run order by created desc limit 1"
        rows = database.execute(
            f"select id, name, task_inputs from task_run where flow_run_id = ({newest})"
        ).fetchall()
    names = {uuid.UUID(number): name for number, name, _ in rows}
    return {
        name: {names[uuid.UUID(one["id"])] for one in orjson.loads(inputs).get("job", [])}
        for _, name, inputs in rows
    }


def artifact_text(cache: dict[str, str], key: str) -> str:
    """Return the newest text that Prefect shows under a key."""
    with closing(sqlite3.connect(Path(cache["CURATE_CACHE"], "prefect", "prefect.db"))) as database:
        (data,) = database.execute(
            "select data from artifact where key = ? order by created desc limit 1", [key]
        ).fetchone()
    return str(orjson.loads(data))


def elsewhere(folder: Path, url: str) -> Path:
    """Return a folder in which every file that Prefect by itself reads names another server."""
    (folder / ".prefect").mkdir(parents=True)
    (folder / ".env").write_text(f"PREFECT_API_URL={url}\nPREFECT_PROFILES_PATH=profiles.toml\n")
    (folder / "prefect.toml").write_text(f'[api]\nurl = "{url}"\n')
    (folder / "pyproject.toml").write_text(f'[tool.prefect.api]\nurl = "{url}"\n')
    profile = f'active = "other"\n[profiles.other]\nPREFECT_API_URL = "{url}"\n'
    for place in ("profiles.toml", ".prefect/profiles.toml"):
        (folder / place).write_text(profile)
    return folder


def flow_runs(cache: dict[str, str]) -> list[tuple[str, str]]:
    """Return name and state of every flow run that Prefect remembers."""
    with closing(sqlite3.connect(Path(cache["CURATE_CACHE"], "prefect", "prefect.db"))) as database:
        return database.execute("select name, state_name from flow_run order by created").fetchall()


def test_two_flows_at_once_do_not_hurt_each_other(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    env, copy = {**environment(), **cache}, copy_of(finished, tmp_path)
    both = [
        subprocess.Popen(
            [*copy.command("--prefect", "--set", f"name={name}"), "--out", str(tmp_path / name)],
            cwd=REPO, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for name in ("übung", "数据.b_c")
    ]  # fmt: skip
    for process in both:
        output, _ = process.communicate(timeout=1_800)
        assert process.returncode == 0, output
        assert FAILED not in output
        assert "does not show" not in output


@contextmanager
def at_work(
    workplace: Workplace, cache: dict[str, str]
) -> Iterator[tuple[TerminalProcess, psutil.Process]]:
    """Yield a flow on a terminal that has come to its fine-tunes, and its server."""
    terminal = TerminalProcess(
        workplace.command("--prefect", "--set", "prove.lora.epochs=20000"),
        env={**environment(), **cache},
    )
    try:
        terminal.wait_for(lambda: "Fine-tune the arms" in terminal.read())
        (server,) = terminal.relatives()
        yield terminal, server
    finally:
        terminal.kill()


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == "zombie"


def test_control_c_ends_a_flow_and_its_server(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    workplace = copy_of(finished, tmp_path)
    with at_work(workplace, cache) as (terminal, server):
        folder = Path(server.cwd())
        terminal.press_control_c()
        assert terminal.end()[0] == 130, terminal.output
    assert terminal.output.count(INTERRUPTED) == 1
    assert "fault of curate" not in terminal.output
    assert list((workplace.store / "tmp").iterdir()) == []
    wait_until(lambda: gone(server))
    assert not folder.exists()


def test_a_killed_flow_leaves_no_server(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    with at_work(copy_of(finished, tmp_path), cache) as (terminal, server):
        terminal.process.send_signal(signal.SIGKILL)
        wait_until(lambda: gone(server))


def copy_of(workplace: Workplace, folder: Path) -> Workplace:
    copy = Workplace(folder / "place", workplace.base)
    copy.write(pool_lines())
    shutil.copytree(workplace.store, copy.store)
    return copy


def test_a_run_ends_well_when_its_server_dies(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    workplace = Workplace(tmp_path / "place", finished.base)
    workplace.write(pool_lines())
    process = subprocess.Popen(
        workplace.command("--prefect", "-v"), cwd=REPO, env={**environment(), **cache},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines = []
    for line in process.stderr:
        lines.append(line)
        if re.search(r"  pool-\w+: made", line):
            (server,) = psutil.Process(process.pid).children()
            server.kill()
    assert process.wait(timeout=1_800) == 0, lines
    assert FAILED in "".join(lines)
    assert not [line for line in lines if "ERROR" in line or "Traceback" in line]
    assert artifact_bytes(workplace.store) == artifact_bytes(finished.store)
    assert run_files(workplace.out) == run_files(finished.out)


def test_a_run_waits_for_a_server_that_is_held_up(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    workplace = copy_of(finished, tmp_path)
    process = subprocess.Popen(
        workplace.command("--prefect", "-v", "--set", "name=held"), cwd=REPO,
        env={**environment(), **cache}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    lines, timer = [], None
    for line in process.stderr:
        lines.append(line)
        if timer is None and re.search(r"  export-\w+: ", line):
            (server,) = psutil.Process(process.pid).children()
            server.suspend()
            timer = threading.Timer(HELD_SECONDS, server.resume)
            timer.start()
    assert process.wait(timeout=1_800) == 0, lines
    assert timer is not None
    assert "Prefect" not in "".join(lines).partition("\n")[2], lines
    assert flow_runs(cache)[-1] == ("curate-held", "Completed")
    assert made_of(cache)["exact"] == {"pool"}


@pytest.mark.parametrize("kind", ["refused", "silent", "other", "no url", "no host"])
def test_an_api_url_that_leads_nowhere_is_told_before_any_work(
    tiny: Path, tmp_path: Path, kind: str
) -> None:
    workplace = light(tmp_path / "place", tiny)
    with listener() as (port, _), web_server(tmp_path) as other:
        url = {
            "refused": f"http://127.0.0.1:{free_port()}/api",
            "silent": f"http://127.0.0.1:{port}/api",
            "other": f"http://user:geheim@127.0.0.1:{other}/api",
            "no url": "nonsense",
            "no host": "http://no-such-host.invalid/api",
        }[kind]
        done = workplace.run(env={"PREFECT_API_URL": url})
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith(f"Error: PREFECT_API_URL={url.replace('user:geheim@', '')}: ")
    assert "geheim" not in done.stderr
    assert not workplace.store.exists()


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def web_server(folder: Path) -> Iterator[int]:
    """Yield the port of a web server that is not Prefect's."""
    port = free_port()
    command = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"]
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )

    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait_until(answers)
        yield port
    finally:
        process.kill()
        process.wait()


def test_a_served_flow_needs_a_server(tmp_path: Path) -> None:
    for url, sentence in (("", "set PREFECT_API_URL"), ("http://127.0.0.1:9/api", "127.0.0.1:9")):
        done = subprocess.run(
            [sys.executable, "-m", "flows.curation"], cwd=REPO,
            env={**environment(), "PREFECT_API_URL": url}, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("Error: ")
        assert sentence in done.stderr


def test_a_machine_without_prefect_says_so(tiny: Path, tmp_path: Path) -> None:
    workplace = light(tmp_path / "place", tiny)
    (tmp_path / "hidden").mkdir()
    # To an import, an environment without the package.
    (tmp_path / "hidden" / "sitecustomize.py").write_text(
        "import sys\nsys.modules['prefect'] = None\n"
    )
    path = os.pathsep.join([str(tmp_path / "hidden"), str(REPO)])
    done = workplace.run("--prefect", env={"PYTHONPATH": path})
    assert done.returncode == 2, done.stderr
    assert done.stderr == (
        "Error: a run as a flow (--prefect, PREFECT_API_URL) needs Prefect, which is not installed: "
        "pip install 'curate-data[prefect]'\n"
    )
