"""Two runs compared: each figure against a loop over their files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.config.recipe import Config
from curate.pipeline.curation import run_curation
from curate.runs.difference import (
    BY_ID,
    BY_TEXT,
    NOT_THERE,
    SelectionOverlap,
    compare_runs,
    difference_lines,
    rows_of_one,
)
from curate.runs.folder import RunFolder, open_run
from tests.report.realrun import FUZZY, finish, recipe, write_inputs

STAGES: list[dict[str, Any]] = [{"kind": "exact"}, FUZZY, {"kind": "rules", "action": "flag"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("difference")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    return open_run(finish(recipe(folder, tiny, STAGES), folder / "runs" / "one"))


@pytest.fixture(scope="module")
def other(folder: Path, tiny: Path) -> RunFolder:
    stages: list[dict[str, Any]] = [{"kind": "exact"}, {**FUZZY, "threshold": 0.9}]
    return open_run(finish(recipe(folder, tiny, stages), folder / "runs" / "two"))


@pytest.fixture(scope="module")
def renamed(folder: Path, tiny: Path) -> RunFolder:
    """A run on the same texts in another order: every id stands for another row."""
    lines = (folder / "pool.jsonl").read_text().splitlines()
    (folder / "turned").mkdir()
    (folder / "turned" / "pool.jsonl").write_text("\n".join(reversed(lines)) + "\n")
    config = recipe(folder, tiny, STAGES).model_dump(mode="json")
    config["pool"][0]["path"] = str(folder / "turned" / "pool.jsonl")
    config["select"] = {"method": "length", "budget": {"rows": 5}}
    return open_run(finish(type(recipe(folder, tiny, STAGES)).model_validate(config), folder / "3"))


def selected(run: RunFolder) -> list[dict[str, Any]]:
    return pl.read_parquet(run.path / "selected.parquet").to_dicts()


def test_settings_and_steps_are_those_of_the_files(run: RunFolder, other: RunFolder) -> None:
    difference = compare_runs(run, other)
    settings = {one.key: (one.one, one.other) for one in difference.settings}
    assert settings["stages.fuzzy.threshold"] == ("0.6", "0.9")
    assert settings["stages.rules"] == ("rules", None)
    assert not [key for key in settings if key.startswith("stages.rules.")]
    assert not [key for key in settings if key.startswith(("name", "store"))]
    left = [
        pl.read_parquet(folder.path / "ledger.parquet")
        .filter(pl.col("stage").is_in(["exact", "fuzzy"]).not_())
        .height
        for folder in (run, other)
    ]
    [step] = [step for step in difference.steps if step.step == "fuzzy"]
    assert [step.one, step.other] == left
    assert [step.step for step in difference.steps][-1] == "select"
    assert [step.other for step in difference.steps if step.step == "rules"] == [None]


def test_methods_are_told_apart_by_name_and_not_by_place(run: RunFolder) -> None:
    stages = run.manifest["config"]["stages"]
    turned = {**run.manifest["config"], "stages": [stages[1], *stages[:1], *stages[1:]]}
    other = RunFolder(run.path, {**run.manifest, "config": turned})
    settings = {one.key: (one.one, one.other) for one in compare_runs(run, other).settings}
    assert settings == {
        "order of stages": ("exact, fuzzy, rules", "fuzzy, exact, rules"),
        "stages.fuzzy-2": (None, "fuzzy"),
    }


@pytest.mark.parametrize("column", [BY_ID, BY_TEXT])
def test_the_overlap_and_the_rows_of_one_run_are_those_of_plain_sets(
    run: RunFolder, other: RunFolder, column: str
) -> None:
    one, two = ({row[column] for row in selected(r)} for r in (run, other))
    [overlap] = [o for o in compare_runs(run, other).overlaps if o.column == column]
    assert (overlap.both, overlap.only_one, overlap.only_other) == (
        len(one & two), len(one - two), len(two - one)
    )  # fmt: skip
    assert overlap.share == len(one & two) / len(one | two)
    alone = rows_of_one(run, other, column)
    assert set(alone["row_id"]) == {r["row_id"] for r in selected(run) if r[column] not in two}
    fates = {r["row_id"]: r for r in pl.read_parquet(other.path / "ledger.parquet").to_dicts()}
    for row in alone.iter_rows(named=True):
        fate = fates[row["row_id"]]
        assert [row[k] for k in ("fate", "stage", "reason")] == [
            fate[k] for k in ("fate", "stage", "reason")
        ]


def test_another_text_of_the_same_id_is_another_row(run: RunFolder, renamed: RunFolder) -> None:
    alone = rows_of_one(run, renamed)
    assert alone.height
    assert set(alone["fate"]) == {NOT_THERE}


def test_the_terminal_says_what_the_record_holds(run: RunFolder, other: RunFolder) -> None:
    difference = compare_runs(run, other)
    text = "\n".join(difference_lines(difference))
    assert "0.6  |  0.9" in text
    [step] = [step for step in difference.steps if step.step == "fuzzy"]
    [line] = [line for line in text.splitlines() if line.startswith("left after fuzzy")]
    assert line.split()[-2:] == [str(step.one), str(step.other)]
    [line] = [line for line in text.splitlines() if line.startswith("rows of one id")]
    assert f" {difference.overlaps[0].both} " in line
    assert text.endswith("A: not proved\nB: not proved")
    assert "The recipes are the same." in "\n".join(difference_lines(compare_runs(run, run)))


def run_of_pairs(folder: Path, *rejected: str) -> RunFolder:
    folder.mkdir()
    lines = [{"prompt": "What floats?", "chosen": "A boat.", "rejected": text} for text in rejected]
    (folder / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    settings = {
        "name": "pairs",
        "pool": [{"path": str(folder / "pool.jsonl"), "source": "web"}],
        "store": str(folder / "store"),
    }
    return open_run(run_curation(Config.model_validate(settings), folder / "run").folder)


def test_pairs_with_other_rejected_answers_are_other_rows(tmp_path: Path) -> None:
    one = run_of_pairs(tmp_path / "1", "A stone.", "An anvil.")
    two = run_of_pairs(tmp_path / "2", "A coin.", "An anvil.", "A nail.")
    overlaps = {o.column: o for o in compare_runs(one, two).overlaps}
    assert overlaps[BY_TEXT] == SelectionOverlap(BY_TEXT, 1, 1, 2)
    alone = rows_of_one(one, two)
    assert alone.select("row_id", "fate").rows() == [("web/pool.jsonl:1", NOT_THERE)]
