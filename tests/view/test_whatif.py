"""What-if answers: the numbers of `curate plan` and `curate rethreshold`, and of loops over tables."""

from __future__ import annotations

import shlex
from pathlib import Path

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import find_rethresholdable, rethreshold
from curate.view.whatif import (
    freeing_overrides,
    plan_answer,
    stages_with_thresholds,
    threshold_answer,
)


@pytest.fixture
def run(mapped_run: Path) -> RunFolder:
    return open_run(mapped_run)


@pytest.mark.parametrize(
    ("budget", "overrides"),
    [
        ("rows=7", []),
        ("tokens=900", ["combine=mean"]),
        (None, ["method=bm25"]),
        ("rows=20", ["shares=[{by: source, most: 0.5}]"]),
        (None, []),
    ],
)
def test_a_plan_is_answered_by_the_plan(
    run: RunFolder, budget: str | None, overrides: list[str]
) -> None:
    answer, planned = plan_answer(run, budget, overrides), plan_selection(run, budget, overrides)
    figures = answer.selection
    assert (figures.rows, figures.tokens) == (planned.rows, planned.tokens)
    assert (figures.both, figures.run_rows) == (planned.shared, planned.run_rows)
    mix = {(source, origin): rows for source, origin, rows in planned.mix.iter_rows()}
    assert {(s, o): now for s, o, now, _ in figures.mix if now} == mix
    own = set(pl.read_parquet(run.path / "selected.parquet")["row_id"])
    chosen = set(planned.ranking.filter("selected")["row_id"])
    came, went = answer.changes
    assert (came.count, went.count) == (len(chosen - own), len(own - chosen))
    assert {one.row_id for one in came.examples} <= chosen - own
    assert {one.row_id for one in went.examples} <= own - chosen


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("fuzzy", ["threshold=0.9"]),
        ("fuzzy", ["threshold=0.35"]),
        ("semantic", ["threshold=0.75"]),
        ("fuzzy", ["rows=100"]),
        ("fuzzy", []),
    ],
)
def test_a_threshold_is_answered_by_the_stage(
    run: RunFolder, name: str, overrides: list[str]
) -> None:
    answer, result = threshold_answer(run, name, overrides), rethreshold(run, name, overrides)
    dropped = set(result.evidence.filter(keep=False)["row_id"])
    before = set(result.before.filter(keep=False)["row_id"])
    assert (answer.dropped, answer.run_dropped, answer.judged) == (
        len(dropped), len(before), result.evidence.height
    )  # fmt: skip
    back, gone = answer.changes
    assert (back.count, gone.count) == (result.back, result.gone)
    assert {one.row_id for one in back.examples} <= before - dropped
    assert {one.row_id for one in gone.examples} <= dropped - before
    own = set(pl.read_parquet(run.path / "selected.parquet")["row_id"])
    assert answer.selection.both == len(own - dropped) or answer.selection.absent


def test_the_commands_are_those_that_do_the_same(run: RunFolder) -> None:
    answer = threshold_answer(run, "fuzzy", ["threshold=0.8"])
    first, second = map(shlex.split, answer.commands)
    assert first == ["curate", "rethreshold", str(run.path), "fuzzy", "--set", "threshold=0.8"]
    assert second == ["curate", "run", "RECIPE", "--set", "stages.1.threshold=0.8"]
    answer = plan_answer(run, "rows=7", ["filter=tokens < 90"])
    first, second = map(shlex.split, answer.commands)
    assert first[3:] == ["--budget", "rows=7", "--set", "filter=tokens < 90"]
    assert second[3:] == [
        "--set", "select.budget={rows: 7}", "--set", 'select.filter="tokens < 90"'
    ]  # fmt: skip
    assert len(plan_answer(run, None, []).commands) == 1


def test_a_threshold_frees_itself_of_what_else_would_set_it(run: RunFolder) -> None:
    stage = find_rethresholdable(run, "fuzzy").model_copy(update={"rows": 50})
    assert freeing_overrides(stage, ["threshold=0.8"]) == ["threshold=0.8", "rows=null"]
    assert freeing_overrides(stage, ["threshold=0.8", "rows=9"]) == ["threshold=0.8", "rows=9"]
    assert freeing_overrides(stage, ["keep=longest"]) == ["keep=longest"]


def test_the_stages_are_those_with_a_threshold(run: RunFolder) -> None:
    assert list(stages_with_thresholds(run)) == ["fuzzy", "semantic"]


def test_what_is_not_stored_is_a_sentence(run: RunFolder) -> None:
    with pytest.raises(UserError, match="floor"):
        threshold_answer(run, "fuzzy", ["threshold=0.1"])
    with pytest.raises(UserError, match="budget"):
        plan_answer(run, "rows=-3", [])
