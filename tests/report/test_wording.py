"""What the report calls steps: the same in a process that made them and in one that reads a run."""

import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).parents[2]
PROGRAM = """
import importlib, pkgutil
import curate.report.build
from curate.core.calls import FUNCTIONS
from curate.report.wording import stage_label

stage_label("exact")
reading = {*FUNCTIONS}
import curate
for module in pkgutil.walk_packages(curate.__path__, "curate."):
    if not module.name.startswith(("curate.orchestration", "curate.__main__")):
        importlib.import_module(module.name)
for name, function in FUNCTIONS.items():
    if function.title and name not in reading:
        print(name)
"""


@pytest.mark.system
def test_a_report_that_is_written_anew_calls_every_step_as_the_run_does() -> None:
    """A title that stands with its function is there once that is imported, which reading must do."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=REPO, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
