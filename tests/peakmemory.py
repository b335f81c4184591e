"""The peak memory of a process of its own, which did nothing but what is measured."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.orchestration.workplace import environment

TELL = """
(peak,) = [line for line in open("/proc/self/status") if line.startswith("VmHWM:")]
print(int(peak.split()[1]) * 1024)
"""


def peak_of(code: str, argument: Path) -> int:
    """Return the peak memory in bytes of a process that runs Python code with an argument."""
    done = subprocess.run(
        [sys.executable, "-c", code + TELL, str(argument)],
        env=environment() | {"POLARS_MAX_THREADS": "1"},
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    )
    return int(done.stdout)
