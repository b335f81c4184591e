"""Memory that a step leaves behind is given back before the next step."""

from __future__ import annotations

import gc
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
