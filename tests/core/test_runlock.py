"""One process writes into a run folder at a time, and a lock never outlives its process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.core.runlock import locked
from tests.runs.test_publish import names

pytestmark = pytest.mark.system

HOLD = """
import sys, time
from pathlib import Path
from curate.core.runlock import locked
from tests.runs.test_publish import names
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(600)
"""


def hold(folder: Path) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    process = hold(folder)
    try:
        message = rf"another run \(process {process.pid}\) is writing"
        with pytest.raises(UserError, match=message), locked(folder):
            pass
    finally:
        process.kill()
        process.communicate()
    with locked(folder):
        assert names(folder) == []


def test_a_folder_made_for_a_run_that_wrote_nothing_goes_again(tmp_path: Path) -> None:
    with locked(tmp_path / "runs" / "new"):
        assert (tmp_path / "runs" / "new").is_dir()
    assert names(tmp_path / "runs") == []
    (tmp_path / "old").mkdir()
    with locked(tmp_path / "old"):
        pass
    assert (tmp_path / "old").is_dir()
