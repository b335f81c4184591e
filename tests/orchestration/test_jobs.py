"""Tasks of a cluster: how many steps each is."""

from pathlib import Path

import pytest

from curate.core.keyed import ModelSource
from curate.core.wants import Wants
from curate.orchestration.computing import wants_of
from curate.orchestration.jobs import batches
from tests.orchestration import hazards


@pytest.mark.parametrize(
    ("steps", "workers", "tasks", "most"),
    [(6, 2, 6, 1), (200, 2, 34, 6), (1000, 2, 63, 16), (1000, 64, 1000, 1), (10_000, 64, 1112, 9)],
)
def test_the_steps_of_a_long_list_are_few_tasks_and_yet_many_for_each_worker(
    steps: int, workers: int, tasks: int, most: int
) -> None:
    calls = [hazards.number.call(value) for value in range(steps)]
    of_tasks = batches(calls, workers)
    assert [call for batch in of_tasks for call in batch] == calls
    assert len(of_tasks) == tasks
    assert max(map(len, of_tasks)) == most


def test_a_task_has_no_steps_that_are_to_be_given_different_things() -> None:
    model = ModelSource({"dtype": "float32"}, Path("model"))
    plain = [hazards.number.call(value) for value in range(500)]
    calls = [*plain, *[hazards.tuned.call(model, seed) for seed in range(500)]]
    assert {frozenset(map(wants_of, batch)) for batch in batches(calls, 1)} == {
        frozenset([Wants()]), frozenset([Wants(gpus=1)])
    }  # fmt: skip
