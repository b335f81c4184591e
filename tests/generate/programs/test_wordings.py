"""Wordings: those that can ask a task, and what is wrong with the others."""

from __future__ import annotations

import pytest

from curate.generate.programs.tasks import TASKS, TaskName
from curate.generate.programs.wordings import built_in, find_wording_fault, usable_by_task


@pytest.mark.parametrize("task", TASKS)
def test_the_built_in_ones_can(task: TaskName) -> None:
    wordings = built_in([task])
    assert usable_by_task(wordings) == {task: list(TASKS[task].wordings)}
    assert len({wording.text for wording in wordings}) == len(wordings) >= 3
    assert [find_wording_fault(task, wording.text) for wording in wordings] == [None] * len(
        wordings
    )


@pytest.mark.parametrize(
    ("wording", "fault"),
    [
        ("Which value has {key}?", None),
        ("Which value is it?", "has the slots [], not ['key']"),
        ("Is {key} the key {key}?", "has the slots ['key', 'key'], not ['key']"),
        ("Which {value} has {key}?", "has the slots ['value', 'key'], not ['key']"),
        ("Which value has { key}, {key}?", "has braces of its own"),
        ("Which value has {{key}}?", "has braces of its own"),
        ("Which value has key 5, {key}?", "has a number of its own"),
        ("{key}?", "is too short"),
        ("哪个值属于{key}？", None),
        ("Which value has {key}" + "?" * 240, "is cut off"),
    ],
)
def test_faults(wording: str, fault: str | None) -> None:
    assert find_wording_fault("dictionary", wording) == fault
