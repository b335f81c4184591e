"""A saved selection as a method: the same rows in the same order, to prove and to compare."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.runs.alternative import planned_alternative, save_selection
from curate.runs.folder import RunFolder, open_run
from curate.runs.plan import plan_selection
from curate.selectors.saved import find_saved
from tests.report.realrun import finish, shared_recipe, write_inputs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def settings(folder: Path, tiny: Path) -> dict[str, Any]:
    return shared_recipe(folder, tiny, [{"method": "exact"}]).model_dump(mode="json")


@pytest.fixture(scope="module")
def run(folder: Path, settings: dict[str, Any]) -> RunFolder:
    return open_run(finish(Config.model_validate(settings), folder / "run"))


def ids(path: Path) -> list[str]:
    return pl.read_parquet(path)["row_id"].to_list()


def selecting(settings: dict[str, Any], out: Path, **select: Any) -> list[str]:
    given = {**settings, "select": {"method": "saved", **select}}
    return ids(finish(Config.model_validate(given), out) / "selected.parquet")


def test_a_saved_plan_is_selected_as_it_is(
    run: RunFolder, settings: dict[str, Any], tmp_path: Path
) -> None:
    place = save_selection(run, "seven", planned_alternative(plan_selection(run, "rows=7")))
    expected = ids(place / "selected.parquet")
    assert selecting(settings, tmp_path / "all", path=str(place)) == expected
    few = selecting(settings, tmp_path / "few", path=str(place), budget={"rows": 3})
    assert few == expected[:3]
    own = selecting(settings, tmp_path / "own", path=str(run.path))
    assert own == ids(run.path / "selected.parquet")


def test_a_saved_selection_is_compared_with_a_method(
    run: RunFolder, settings: dict[str, Any], tmp_path: Path
) -> None:
    place = save_selection(run, "compared", planned_alternative(plan_selection(run, "rows=5")))
    given = {**settings, "compare": [{"method": "saved", "path": str(place)}]}
    compared = finish(Config.model_validate(given), tmp_path / "run")
    ranking = pl.read_parquet(compared / "evidence" / "compare" / "saved.parquet")
    assert ranking.filter("selected")["row_id"].to_list() == ids(place / "selected.parquet")


def test_ids_of_ones_own_are_taken_in_their_order_and_strange_ones_are_counted(
    settings: dict[str, Any], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    table = tmp_path / "ids.parquet"
    order = ["web/pool.jsonl:9", "nowhere:1", "web/pool.jsonl:2", "web/pool.jsonl:9"]
    pl.DataFrame({"row_id": order}).write_parquet(table)
    with caplog.at_level(logging.WARNING, "curate"):
        chosen = selecting(settings, tmp_path / "run", path=str(table))
    assert chosen == ["web/pool.jsonl:9", "web/pool.jsonl:2"]
    assert "1 of the 3 rows" in caplog.text


def test_a_table_is_known_by_its_ids_and_not_by_its_place(tmp_path: Path) -> None:
    tables = {"a": ["1", "2"], "b": ["1", "2"], "c": ["2", "1"]}
    for name, row_ids in tables.items():
        pl.DataFrame({"row_id": row_ids, "n": name}).write_parquet(tmp_path / f"{name}.parquet")
    a, b, c = (find_saved(str(tmp_path / f"{name}.parquet")).identity for name in tables)
    assert a == b != c


@pytest.mark.parametrize("name", ["nothing", "folder", "text.parquet", "other.parquet"])
def test_what_holds_no_row_ids_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "text.parquet").write_text("no table")
    pl.DataFrame({"id": ["1"]}).write_parquet(tmp_path / "other.parquet")
    with pytest.raises(UserError, match="give the folder of a run or a saved selection"):
        find_saved(str(tmp_path / name))


def test_a_selection_of_another_pool_has_no_row_here(
    settings: dict[str, Any], tmp_path: Path
) -> None:
    pl.DataFrame({"row_id": ["other:1"]}).write_parquet(tmp_path / "ids.parquet")
    with pytest.raises(UserError, match="it is not in the saved selection"):
        selecting(settings, tmp_path / "run", path=str(tmp_path / "ids.parquet"))
