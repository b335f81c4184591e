"""Moved thresholds: the verdicts are those of a fresh run of the recipe with the same parameters."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import yaml
from polars.testing import assert_frame_equal

from curate.core.errors import UserError
from curate.runs.folder import RunFolder, open_run
from curate.runs.rethreshold import find_rethresholdable, rethreshold, stage_data, sweep
from tests.report.realrun import FUZZY, dedup, finish, read_texts, shared_recipe, write_inputs

STAGES: list[dict[str, Any]] = [
    {"kind": "exact"},
    FUZZY,
    {**FUZZY, "compare": "prompt", "threshold": 0.55},
    {"kind": "semantic", "threshold": 0.9, "floor": 0.5},
    {"kind": "leaks", "any_ngram": 13},
]
NAMES = ["exact", "fuzzy", "fuzzy-2", "semantic", "leaks"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("moved")
    write_inputs(path)
    return path


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    return open_run(finish(shared_recipe(folder, tiny, STAGES), folder / "run"))


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("fuzzy", []),
        ("fuzzy", ["threshold=0.8"]),
        ("fuzzy", ["threshold=0.35"]),
        ("fuzzy", ["threshold=1"]),
        ("fuzzy", ["rows=120"]),
        ("fuzzy", ["rows=125", "keep=longest"]),
        ("fuzzy", ["rows=1000"]),
        ("fuzzy", ["keep=longest"]),
        ("fuzzy", ["keep={sources: [gold, web]}", "threshold=0.5"]),
        ("fuzzy-2", ["keep={highest: fuzzy.score}", "threshold=0.4"]),
        ("fuzzy-2", ["threshold=0.35"]),
        ("semantic", ["threshold=0.6"]),
        ("leaks", ["threshold=0.2"]),
        ("leaks", ["any_ngram=null", "threshold=0.99"]),
    ],
)
def test_verdicts_are_those_of_a_fresh_run(
    folder: Path, tiny: Path, run: RunFolder, name: str, overrides: list[str]
) -> None:
    changed = dict(one.split("=", 1) for one in overrides)
    changes = {key: yaml.safe_load(value) for key, value in changed.items()}
    at = NAMES.index(name)
    stages = [*STAGES[:at], {**STAGES[at], **changes}]
    fresh = finish(shared_recipe(folder, tiny, stages), folder / "fresh")
    verdicts = pl.read_parquet(fresh / "evidence" / f"{name}.parquet")
    result = rethreshold(run, name, overrides)
    assert_frame_equal(result.evidence.select(verdicts.columns), verdicts)
    before = pl.read_parquet(run.path / "evidence" / f"{name}.parquet")
    assert_frame_equal(result.before, before)
    assert verdicts.equals(before) == (not overrides)


def test_what_comes_back_and_what_goes_is_counted(run: RunFolder) -> None:
    texts = read_texts(run.path, "fuzzy")
    low, own, high = (set(dedup(texts, at)[0]) for at in (0.35, 0.6, 0.85))
    up, down = (
        rethreshold(run, "fuzzy", ["threshold=0.85"]),
        rethreshold(run, "fuzzy", ["threshold=0.35"]),
    )
    assert (up.back, up.gone) == (len(own - high), len(high - own))
    assert (down.back, down.gone) == (len(own - low), len(low - own))
    assert up.back > 0 < down.gone


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("fuzzy", []),
        ("fuzzy", ["keep=longest"]),
        ("fuzzy", ["rows=120"]),
        ("fuzzy-2", ["keep={highest: fuzzy.score}"]),
        ("semantic", []),
        ("leaks", []),
    ],
)
def test_a_sweep_is_as_many_moves(run: RunFolder, name: str, overrides: list[str]) -> None:
    kept = [one for one in overrides if not one.startswith("rows")]
    moved = rethreshold(run, name, overrides)
    assert moved.sweep.height == 9
    assert moved.sweep["dropped"].n_unique() > 2 or name == "leaks"
    for threshold, dropped in moved.sweep.iter_rows():
        one = rethreshold(run, name, [*kept, f"threshold={threshold}"])
        assert int((~one.evidence["keep"]).sum()) == dropped


def test_a_sweep_of_two_points_has_the_ends(run: RunFolder) -> None:
    stage = find_rethresholdable(run, "fuzzy")
    assert sweep(stage_data(run, "fuzzy"), stage, 2)["threshold"].to_list() == [0.3, 1.0]


def test_a_run_without_pairs_drops_nothing_at_any_threshold(tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, rows=4)
    lines = [json.dumps({"prompt": f"ask{i} " * 9, "completion": f"say{i} " * 9}) for i in range(5)]
    (tmp_path / "pool.jsonl").write_text("\n".join(lines))
    lonely = open_run(finish(shared_recipe(tmp_path, tiny, [FUZZY]), tmp_path / "run"))
    assert rethreshold(lonely, "fuzzy", []).sweep["dropped"].to_list() == [0] * 9


@pytest.mark.parametrize(
    ("name", "override", "message"),
    [
        ("fuzzy", "threshold=0.2", "the floor 0.3 is above the threshold 0.2: pairs are stored"),
        ("fuzzy", "threshold=high", "fuzzy.threshold: Input should be a valid number"),
        ("fuzzy", "threshold=2", "fuzzy.threshold: Input should be less than or equal to 1"),
        ("fuzzy", "threshold", "--set threshold: write it as key=value, e.g. threshold=0.8"),
        ("fuzzy", "threshold={", "--set threshold={: the value is not valid YAML"),
        ("fuzzy", "thresold=1", "fuzzy.thresold: unknown key; did you mean 'threshold'?"),
        ("fuzzy", "ngram=3", "fuzzy.ngram: needs other pairs than the stored ones"),
        ("fuzzy", "keep=shortest", "fuzzy.keep: write earliest, longest, {sources:"),
        ("fuzzy", "keep={highest: semantic}", "no earlier stage is named 'semantic'"),
        ("fuzzy", "rows=1", "cannot go down to 1 rows"),
        ("fuzzy-2", "floor=0.1", "fuzzy-2.floor: needs other pairs"),
        (
            "exact",
            "threshold=1",
            "the stage 'exact' has no stored pairs; stages that have: fuzzy, ",
        ),
        ("fuzzy-3", "threshold=1", "the stage 'fuzzy-3' did not run; stages that have: fuzzy, "),
    ],
)
def test_faults_are_told_in_a_sentence(
    run: RunFolder, name: str, override: str, message: str
) -> None:
    with pytest.raises(UserError) as error:
        rethreshold(run, name, [override])
    assert message in str(error.value)


def test_a_number_of_rows_decides_over_a_threshold(folder: Path, tiny: Path) -> None:
    sized = [{**FUZZY, "rows": 120}]
    run = open_run(finish(shared_recipe(folder, tiny, sized), folder / "sized"))
    with pytest.raises(UserError, match="rows is 120, which decides where it is set"):
        rethreshold(run, "fuzzy", ["threshold=0.8"])
    plain = open_run(finish(shared_recipe(folder, tiny, [FUZZY]), folder / "plain"))
    moved = rethreshold(run, "fuzzy", ["threshold=0.8", "rows=null"])
    assert_frame_equal(moved.evidence, rethreshold(plain, "fuzzy", ["threshold=0.8"]).evidence)


@pytest.mark.parametrize("role", ["pool", "eval", "protected"])
def test_rows_that_the_store_lost_are_named(run: RunFolder, tmp_path: Path, role: str) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    store = tmp_path / "store"
    store.mkdir()
    for other, name in run.manifest["artifacts"].items():
        if other != role:
            (store / name).symlink_to(Path(run.manifest["store"]) / name)
    manifest = {**run.manifest, "store": str(store)}
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(
        UserError, match=f"the store has lost the rows of the {role}; run `curate run`"
    ):
        rethreshold(open_run(tmp_path / "run"), "leaks", [])


def test_a_set_that_the_stage_does_not_read_may_be_lost(run: RunFolder, tmp_path: Path) -> None:
    manifest = {**run.manifest, "artifacts": {**run.manifest["artifacts"], "eval": "gone"}}
    partly = RunFolder(run.path, manifest)
    assert rethreshold(partly, "fuzzy", []).back == 0
    with pytest.raises(UserError, match="the rows of the eval"):
        rethreshold(partly, "leaks", [])


@pytest.mark.parametrize(("name", "table"), [("fuzzy", "pairs"), ("leaks", "overlaps")])
def test_a_table_that_is_gone_is_named(
    run: RunFolder, tmp_path: Path, name: str, table: str
) -> None:
    shutil.copytree(run.path, tmp_path / "run")
    (tmp_path / "run" / "evidence" / f"{name}-{table}.parquet").unlink()
    with pytest.raises(
        UserError, match=rf"{name}-{table}.parquet is missing; run `curate run` again"
    ):
        rethreshold(open_run(tmp_path / "run"), name, [])


def test_a_stage_reads_what_the_stages_before_it_kept(run: RunFolder) -> None:
    before = pl.read_parquet(run.path / "evidence" / "fuzzy.parquet").filter("keep")
    data = stage_data(run, "fuzzy-2")
    assert data.rows.select("row_id").collect()["row_id"].equals(before["row_id"])
    assert sorted(data.evidence) == ["exact", "fuzzy"]
    assert data.prepared["pairs"].path == run.path / "evidence" / "fuzzy-2-pairs.parquet"
