"""Runs of before `duplicate_of`: where their tables say `twin_id`, they are read all the same."""

import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from curate.runs.explain import explain_row
from curate.runs.folder import RunFolder, open_run
from curate.runs.rethreshold import rethreshold
from tests.report.realrun import FUZZY, finish, recipe, write_inputs
from tests.report.sections import section_of

pytestmark = pytest.mark.system

STAGES: list[dict[str, Any]] = [{"kind": "exact", "conflicts": True}, FUZZY]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> RunFolder:
    folder = tmp_path_factory.mktemp("columns")
    write_inputs(folder)
    return open_run(finish(recipe(folder, tiny, STAGES), folder / "run"))


@pytest.fixture(scope="module")
def old(run: RunFolder) -> RunFolder:
    """The same run with the columns as the version before wrote them."""
    folder = run.path.with_name("old")
    shutil.copytree(run.path, folder)
    renamed = []
    for path in folder.rglob("*.parquet"):
        table = pl.read_parquet(path)
        if {"duplicate_of", "other_id"} & {*table.columns}:
            columns = {"duplicate_of": "twin_id", "other_id": "twin_id"}
            path.unlink()
            table.rename(columns, strict=False).write_parquet(path)
            renamed.append(path.stem)
    written = {"ledger", "exact", "exact-conflicts", "fuzzy", "fuzzy-pairs", "fuzzy-differing"}
    assert {*renamed} >= written
    return open_run(folder)


def test_tables_have_the_names_of_now(run: RunFolder, old: RunFolder) -> None:
    for path in run.path.rglob("*.parquet"):
        name = str(path.relative_to(run.path).with_suffix(""))
        assert_frame_equal(old.table(name).collect(), run.table(name).collect())


def test_an_old_run_is_explained_and_reported_like_a_new_one(
    run: RunFolder, old: RunFolder
) -> None:
    ledger = run.table("ledger").collect()
    some = pl.concat([ledger.unique(["fate", "stage", "reason"]), ledger.gather_every(8)])
    for row_id in some["row_id"]:
        assert explain_row(old, row_id) == explain_row(run, row_id)
    for stage in ("exact", "fuzzy"):
        assert section_of(old.path, stage) == section_of(run.path, stage)


@pytest.mark.parametrize("overrides", [[], ["threshold=0.8"], ["rows=120"]])
def test_an_old_run_is_rethresholded(run: RunFolder, old: RunFolder, overrides: list[str]) -> None:
    expected, result = (rethreshold(each, "fuzzy", overrides) for each in (run, old))
    assert_frame_equal(result.evidence, expected.evidence)
    assert_frame_equal(result.before, expected.before)
    assert_frame_equal(result.sweep, expected.sweep)
