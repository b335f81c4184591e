"""SIGKILL of a run's driver and workers at seeded moments; bench_kills.py does it 50 times."""

from pathlib import Path

import pytest

from tests.orchestration.kills import Kill, KilledRuns, kill_plan
from tests.orchestration.workplace import Workplace

pytestmark = pytest.mark.system
AMID_STEPS = [Kill("driver", 6, 0.1), Kill("worker", 4, 0.1)]
PLANS = {"threads": kill_plan(0, "threads", 2), "ray": AMID_STEPS, "dask": AMID_STEPS}


@pytest.mark.parametrize("engine", PLANS)
def test_a_killed_run_leaves_no_process_and_ends_in_the_same_bytes(
    finished: Workplace, tmp_path: Path, engine: str
) -> None:
    figures = KilledRuns(engine, finished, tmp_path).go(PLANS[engine])
    assert figures.kills == len(PLANS[engine])
    assert figures.complete >= 1
