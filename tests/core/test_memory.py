"""Memory that a step leaves behind is given back before the next step."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from curate.core.store import Store
from tests.conftest import Computed

MANY = 320 * 2**20


class Knot:
    """An object that refers to itself, as models with adapters do."""

    def __init__(self) -> None:
        self.itself = self
        self.weights = np.ones(MANY // 8)


def tie(out: Path) -> dict[str, Any]:
    Knot()
    return {}


@pytest.mark.system
def test_what_a_step_leaves_in_cycles_of_references_is_given_back(store: Store) -> None:
    process = psutil.Process()
    gc.collect()
    before = process.memory_info().rss
    for number in range(2):
        store.ensure(Computed("knot", tie, number))
    assert process.memory_info().rss - before < MANY / 2


FAULTS = """
import resource
from curate.core.memory import keep_freed_memory
keep_freed_memory()
for turn in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(50):
        blocks = [b"a" * 3 * 2**20 for _ in range(3)]
        del blocks
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.system
@pytest.mark.skipif(sys.platform != "linux", reason="the setting is one of glibc")
def test_blocks_that_come_and_go_are_taken_from_the_system_once() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FAULTS], capture_output=True, text=True, check=True
    )
    assert int(done.stdout) < 1_000, "75,000 where each is taken anew"
