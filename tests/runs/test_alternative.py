"""Another selection leads somewhere: to training files, and to a recipe that makes the same rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.runs.alternative import planned_alternative, rethresholded_alternative, save_selection
from curate.runs.deliver import deliver
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold
from tests.commandline import curate
from tests.report.realrun import FUZZY, finish, recipe, write_inputs

pytestmark = pytest.mark.system

STAGES: list[dict[str, Any]] = [{"method": "exact"}, FUZZY]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("alternatives")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    return open_run(finish(recipe(folder, tiny, STAGES), folder / "run"))


def ids(path: Path) -> list[str]:
    return pl.read_parquet(path)["row_id"].to_list()


def test_a_saved_plan_is_a_recipe_that_selects_the_same_rows(
    run: RunFolder, tmp_path: Path
) -> None:
    done = curate("plan", str(run.path), "--budget", "rows=9", "--as", "nine")
    assert done.returncode == 0, done.stderr
    place = run.path / "selections" / "nine"
    assert f"curate run {place / 'recipe.yaml'}" in done.stdout
    assert ids(place / "selected.parquet")[:5] == ids(run.path / "selected.parquet")
    again = load_config(place / "recipe.yaml")
    assert again.name == "nine"
    finish(again, tmp_path / "again")
    assert ids(tmp_path / "again" / "selected.parquet") == ids(place / "selected.parquet")


def test_a_plan_writes_training_files_of_its_own(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "train"
    done = curate("plan", str(run.path), "--budget", "rows=7", "--export", str(out))
    assert done.returncode == 0, done.stderr
    assert "not proved" in done.stdout
    (table,) = (out / "data").glob("*.parquet")
    assert ids(table)[:5] == ids(run.path / "selected.parquet")
    assert len(ids(table)) == 7


def test_a_later_run_into_the_folder_keeps_saved_selections(
    folder: Path, tiny: Path, tmp_path: Path
) -> None:
    given = recipe(folder, tiny, STAGES)
    first = open_run(finish(given, tmp_path / "run"))
    save_selection(first, "kept", planned_alternative(plan_selection(first, "rows=3")))
    more = given.model_copy(update={"seed": 4})
    finish(Config.model_validate(more.model_dump(mode="json")), tmp_path / "run")
    assert len(ids(tmp_path / "run" / "selections" / "kept" / "selected.parquet")) == 3


@pytest.mark.parametrize("threshold", ["0.35", "0.8"])
def test_a_moved_threshold_leads_to_what_a_run_with_it_selects(
    folder: Path, tiny: Path, tmp_path: Path, threshold: str
) -> None:
    given = recipe(folder, tiny, STAGES).model_dump(mode="json")
    own = open_run(finish(Config.model_validate({**given, "select": "all"}), tmp_path / "own"))
    result = rethreshold(own, "fuzzy", [f"threshold={threshold}"])
    alternative = rethresholded_alternative(own, result)
    assert alternative.absent == 0
    fresh = finish(alternative.recipe(own, "moved"), tmp_path / "moved")
    assert alternative.rows(own)["row_id"].to_list() == ids(fresh / "selected.parquet")
    assert (result.back, result.gone) != (0, 0)


def test_rows_that_a_later_stage_has_not_judged_are_left_out_and_counted(
    folder: Path, tiny: Path, tmp_path: Path
) -> None:
    given = recipe(folder, tiny, [FUZZY, {"method": "leaks"}])
    own = open_run(finish(given, tmp_path / "own"))
    done = curate("rethreshold", str(own.path), "fuzzy", "--set", "threshold=0.8",
                  "--export", str(tmp_path / "train"))  # fmt: skip
    assert done.returncode == 0, done.stderr
    back = rethreshold(own, "fuzzy", ["threshold=0.8"]).back
    assert f"{back:,} rows that come back are not in it" in done.stdout


def test_a_saved_selection_is_an_arm_of_a_proof(run: RunFolder, tiny: Path, folder: Path) -> None:
    place = save_selection(run, "arm", planned_alternative(plan_selection(run, "rows=4")))
    given = recipe(folder, tiny, STAGES).model_dump(mode="json")
    arms = ["selected", "random", {"name": "arm", "path": str(place)}]
    prove = {"draws": 2, "seeds": 1, "arms": arms, "lora": {"epochs": 1}, "written": 0}
    # A prompt of the eval set is in the target.
    prove["allow_leaks"] = True
    proved = finish(Config.model_validate({**given, "prove": prove}), place.parent / "proved")
    assert "arm" in (proved / "proof.json").read_text()


@pytest.mark.parametrize(
    ("name", "problem"), [("../up", "use letters"), ("taken", "there already"), ("", "dots alone")]
)
def test_a_name_that_cannot_be_is_refused(run: RunFolder, name: str, problem: str) -> None:
    (run.path / "selections" / "taken").mkdir(parents=True, exist_ok=True)
    alternative = planned_alternative(plan_selection(run, "rows=4"))
    with pytest.raises(UserError, match=problem):
        deliver(run, alternative, None, name)


def test_rows_that_the_store_has_lost_are_named(run: RunFolder, tmp_path: Path) -> None:
    lost = RunFolder(run.path, {**run.manifest, "store": str(tmp_path)})
    alternative = planned_alternative(plan_selection(run, "rows=4"))
    with pytest.raises(UserError, match="the store has lost the rows"):
        deliver(lost, alternative, tmp_path / "out", None)
    assert not (tmp_path / "out").exists()
