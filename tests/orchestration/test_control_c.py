"""Ctrl-C in the midst of real work, on a real terminal."""

from pathlib import Path

import pytest

from tests.orchestration.workplace import Workplace, environment, pool_lines
from tests.terminal import INTERRUPTED, TerminalProcess

pytestmark = pytest.mark.system
# What the run is at: how often the pool holds its rows, what the run has said before.
WORK = {
    "ingest": (1500, ""),
    "a model reads rows": (60, "Encode rows"),
    "a fine-tune": (1, "Fine-tune the arms"),
}
# So that no run comes to its end before its interruption, however busy the machine.
LONG = ("--set", "stages=[]", "--set", "prove.lora.epochs=20000")


@pytest.mark.parametrize(("copies", "before"), WORK.values(), ids=WORK)
def test_control_c_ends_a_run_at_work(tiny: Path, tmp_path: Path, copies: int, before: str) -> None:
    workplace = Workplace(tmp_path / "place", tiny)
    workplace.write(pool_lines() * copies)
    tmp = workplace.store / "tmp"
    terminal = TerminalProcess(workplace.command(*LONG), env=environment())
    try:
        terminal.wait_for(lambda: before in terminal.read() and any(tmp.glob("*")))
        children = terminal.relatives()
        terminal.press_control_c()
        status, seconds = terminal.end()
    finally:
        terminal.kill()
    print(f"{seconds:.2f} s")
    assert status == 130, terminal.output
    assert terminal.output.count(INTERRUPTED) == 1
    assert "Traceback" not in terminal.output
    assert list(tmp.iterdir()) == []
    assert not workplace.out.exists()
    assert not any(child.is_running() for child in children)
