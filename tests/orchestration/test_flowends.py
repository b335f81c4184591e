"""Flows that are interrupted or killed, or whose server dies: nothing is left, and no run is lost."""

import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.orchestration.workplace import (
    FAILED,
    REPO,
    Workplace,
    artifact_bytes,
    copy_of,
    environment,
    pool_lines,
    run_files,
)
from tests.terminal import INTERRUPTED, TerminalProcess, wait_until

pytestmark = pytest.mark.system


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


def test_a_killed_flow_leaves_no_server_and_no_folder(
    finished: Workplace, cache: dict[str, str], tmp_path: Path
) -> None:
    with at_work(copy_of(finished, tmp_path), cache) as (terminal, server):
        folder = Path(server.cwd())
        terminal.process.send_signal(signal.SIGKILL)
        wait_until(lambda: gone(server))
        wait_until(lambda: not folder.exists())


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
