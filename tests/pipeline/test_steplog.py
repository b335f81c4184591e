"""The line of a list of steps: what it was, its rows, its time, what was reused."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from curate.core.calls import cached
from curate.core.store import Artifact, Computation, Store
from curate.pipeline.steplog import StepsSummary, execute_logged
from tests.progress.clock import HandClock


@cached(version=1, name="test-counted-rows")
def counted_rows(rows: int) -> pl.DataFrame:
    return pl.DataFrame({"row": range(rows)})


def artifact_of(rows: int, *, cached: bool = False, **counts: object) -> Artifact:
    counted = {"rows_in": 900, "rows_out": rows, **counts}
    return Artifact("x", "k", Path("x-1"), "d", {}, counted, 1.0, 80.0, {}, cached)


@pytest.mark.parametrize(
    ("names", "artifacts", "seconds", "line"),
    [
        (
            ["embed"],
            [artifact_of(600, cached=True), artifact_of(600), artifact_of(1)],
            12.34,
            "Embed rows                                 1,201 rows   12.3 s  1 of 3 reused",
        ),
        (
            ["fuzzy"],
            [artifact_of(812, dropped={"fuzzy_duplicate": 88})],
            65.0,
            "Near duplicates                       812 of 900 kept     1:05",
        ),
        (
            ["score-rds"],
            [artifact_of(1, cached=True)],
            0.0,
            "Score the rows (RDS+)                           1 row    0.0 s  reused",
        ),
    ],
)
def test_a_list_of_steps_is_one_line(
    names: Sequence[str], artifacts: list[Artifact], seconds: float, line: str
) -> None:
    assert StepsSummary(names, artifacts, seconds).line() == line


def test_what_took_a_moment_and_dropped_nothing_is_a_detail() -> None:
    kept = artifact_of(900, dropped={})
    dropped = artifact_of(899, dropped={"exact_duplicate": 1})
    assert StepsSummary(["exact"], [kept], 1.9).level == logging.DEBUG
    assert StepsSummary(["exact"], [kept], 2.0).level == logging.INFO
    assert StepsSummary(["exact"], [dropped], 0.0).level == logging.INFO


def test_in_detail_each_step_says_what_it_read(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    clock = HandClock()

    def execute(steps: Sequence[Computation]) -> Iterator[Artifact]:
        for step in steps:
            clock.now += 3
            yield replace(store.ensure(step), seconds=3.0, peak_memory_mb=70.4)

    caplog.set_level("DEBUG", "curate")
    (artifact,) = execute_logged(execute, [counted_rows.call(2)], clock)
    first, second = (r.getMessage() for r in caplog.records if r.name == "curate")
    assert first.split()[-2:] == ["3.0", "s"]
    assert second == f"  {artifact.path.name}: made in 3.0 s, at most 70 MB"
