"""The flow served by a real Prefect server: started with a recipe as JSON, ending in a run folder."""

import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import orjson
import pytest

from curate.orchestration.history import DATABASE
from tests.orchestration.conftest import record as record
from tests.orchestration.prefectapi import read_api
from tests.orchestration.workplace import REPO, Workplace, environment, pool_lines

pytestmark = [pytest.mark.system, pytest.mark.model]
PREFECT = [sys.executable, "-m", "prefect"]


def wait_for(condition: object, seconds: int = 1_200) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.2)


def free_port() -> int:
    """Return a port at which nobody listens, of those that the system gives nobody by itself."""
    for port in random.sample(range(20_000, 32_000), 1_000):
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    raise AssertionError("no free port among a thousand")


@pytest.fixture(scope="module")
def server(record: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Yield the environment of a client of a running Prefect server, with a record of no run."""
    port = free_port()
    api = f"http://127.0.0.1:{port}/api"
    home = tmp_path_factory.mktemp("prefect")
    shutil.copyfile(record, home / DATABASE)
    quiet = {"DO_NOT_TRACK": "1", "PREFECT_SERVER_ANALYTICS_ENABLED": "false"}
    auth = {"PREFECT_SERVER_API_AUTH_STRING": "me:secret", "PREFECT_API_AUTH_STRING": "me:secret"}
    places = {"PREFECT_API_URL": api, "PREFECT_HOME": str(home)}
    client = {**environment(), **quiet, **auth, **places}
    with (home / "log").open("w") as log:
        process = subprocess.Popen(
            [*PREFECT, "server", "start", "--port", str(port)],
            cwd=REPO, env=client, stdout=log, stderr=log,
        )  # fmt: skip

    def healthy() -> bool:
        try:
            with urllib.request.urlopen(f"{api}/health", timeout=300) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        wait_for(healthy)
        yield client
    finally:
        process.terminate()
        process.wait(timeout=1_800)


def test_a_served_flow_runs_a_recipe_and_publishes_it(
    server: dict[str, str], tmp_path: Path
) -> None:
    log = tmp_path / "log"
    with log.open("w") as file:
        serving = subprocess.Popen(
            [sys.executable, "-m", "flows.curation"], cwd=REPO, env=server, stdout=file, stderr=file
        )
    try:
        wait_for(lambda: "curation/curation" in log.read_text() or serving.poll() is not None)
        recipe = {
            "name": "served",
            "pool": [{"path": "data/pool/*", "source": "bundled", "sample": 50}],
            # Of a few rows of the bundled pool more may be broken than of all.
            "ingest": {"max_rejected": 0.5},
            "stages": [{"kind": "exact"}],
            "select": {"method": "random", "budget": {"rows": 5}},
            "store": str(tmp_path / "store"),
        }
        parameters = orjson.dumps({"config": recipe, "out": str(tmp_path / "run")}).decode()
        done = subprocess.run(
            [*PREFECT, "deployment", "run", "curation/curation", "--params", parameters, "--watch"],
            cwd=REPO, env=server, capture_output=True, text=True, timeout=1_800,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr + log.read_text()
    finally:
        serving.terminate()
        serving.wait(timeout=1_800)
    (jsonl,) = (tmp_path / "run" / "export").glob("train-*.jsonl")
    assert len(jsonl.read_bytes().splitlines()) == 5
    published = {artifact["key"] for artifact in read_api(server, "artifacts/filter", {})}
    assert {"served-funnel", "served-verdict", "served-report"} <= published


def test_a_run_goes_to_the_server_that_the_environment_names(
    server: dict[str, str], tiny: Path, tmp_path: Path
) -> None:
    workplace = Workplace(tmp_path / "place", tiny)
    workplace.write(pool_lines())
    arguments = ["--set", "name=mine", "--set", "prove=null"]
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / ".env").write_text("PREFECT_API_AUTH_STRING=another:secret\n")
    done = workplace.run(*arguments, env=server, cwd=tmp_path / "here")
    assert done.returncode == 0, done.stderr
    assert "the run goes on without it" not in done.stderr
    runs = {run["name"] for run in read_api(server, "flow_runs/filter", {})}
    assert "curate-mine" in runs
    refused = workplace.run(*arguments, env={**server, "PREFECT_API_AUTH_STRING": "not:mine"})
    assert refused.returncode == 2
    assert "PREFECT_API_AUTH_STRING" in refused.stderr
    assert "401" in refused.stderr
