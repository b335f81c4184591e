"""A run with local files and a local model asks no other machine for anything, and unpickles nothing.

It runs in a network namespace that has the loopback alone, under an audit hook that writes down each
attempt: a question that fails quietly, such as one after a newer file on a hub, counts as well.
"""

import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.orchestration.workplace import REPO, Workplace, environment, pool_lines

CUT_OFF = [
    "unshare",
    "--map-root-user",
    "--net",
    "sh",
    "-c",
    'ip link set lo up && exec "$@"',
    "sh",
]
# Python imports a module of this name first, in every process. Dask unpickles its own operators when it
# is imported, to name them; that is neither data nor a run's doing.
HOOK = """
import os, sys, traceback

LOOPBACK = (None, "", "localhost", "127.0.0.1", "::1", b"localhost", b"127.0.0.1", b"::1")
DASK = os.path.join("dask", "tokenize.py")

def watch(event, arguments):
    if event in ("socket.connect", "socket.sendto"):
        address = arguments[1]
        if not isinstance(address, tuple) or address[0] in LOOPBACK:
            return
    elif event == "socket.getaddrinfo":
        if arguments[0] in LOOPBACK:
            return
    elif event != "pickle.find_class":
        return
    files = [frame.filename for frame in traceback.extract_stack()]
    if event == "pickle.find_class" and any(file.endswith(DASK) for file in files):
        return
    with open(os.environ["WATCH_LOG"], "a") as log:
        log.write(f"{event} {arguments[:2]} {files[-8:]}\\n")

sys.addaudithook(watch)
"""


@pytest.fixture
def watched(tmp_path: Path) -> Mapping[str, str]:
    """Return an environment whose processes write what they attempt to the file WATCH_LOG."""
    hooks = tmp_path / "hooks"
    hooks.mkdir()
    (hooks / "sitecustomize.py").write_text(HOOK)
    own = environment()
    log = tmp_path / "attempts"
    log.touch()
    return {**own, "PYTHONPATH": f"{hooks}:{own['PYTHONPATH']}", "WATCH_LOG": str(log)}


def run_cut_off(command: list[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CUT_OFF, *command], cwd=REPO, env=env, capture_output=True, text=True, timeout=1_800
    )


def attempts(env: Mapping[str, str]) -> list[str]:
    return Path(env["WATCH_LOG"]).read_text().splitlines()


pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(
        not shutil.which("ip")
        or not shutil.which("unshare")
        or subprocess.run([*CUT_OFF, "true"], capture_output=True).returncode != 0,
        reason="SKIPPED, and so untested: this machine makes no network namespaces",
    ),
]


@pytest.mark.parametrize("flags", [[], ["--prefect"]], ids=["alone", "as a flow"])
def test_a_run_asks_no_other_machine_and_unpickles_nothing(
    tiny: Path, tmp_path: Path, watched: Mapping[str, str], flags: list[str]
) -> None:
    workplace = Workplace(tmp_path / "work", tiny)
    workplace.write(pool_lines())
    stages = "stages=[exact, fuzzy, semantic, leaks, rules]"
    changes = ("--set", stages, "--set", "prove.seeds=1")
    done = run_cut_off(workplace.command(*flags, *changes), watched)
    assert done.returncode == 0, done.stderr
    assert attempts(watched) == []
    assert "telemetry" not in done.stderr.lower()
    assert (workplace.out / "proof.json").is_file()


@pytest.mark.parametrize(
    ("program", "attempt"),
    [
        ("import socket; socket.create_connection(('192.0.2.1', 80), 1)", "socket.connect"),
        ("import urllib.request as u; u.urlopen('http://hub.example')", "socket.getaddrinfo"),
        ("import pickle; pickle.loads(pickle.dumps(OSError))", "pickle.find_class"),
    ],
)
def test_an_attempt_is_noticed(watched: Mapping[str, str], program: str, attempt: str) -> None:
    run_cut_off([sys.executable, "-c", program], watched)
    assert attempts(watched)
    assert {line.split()[0] for line in attempts(watched)} <= {attempt, "socket.getaddrinfo"}
