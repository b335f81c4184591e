"""The stored vectors of a run: each is what its model makes of the row that it is said to be of."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.models.embed import embed_texts
from curate.runs.folder import RunFolder, open_run
from curate.runs.vectors import VectorSpace, find_vectors
from tests.report.realrun import FUZZY, finish, recipe, write_inputs

STAGES: list[dict[str, Any]] = [
    {"kind": "exact"},
    {"kind": "semantic", "numbers": False, "responses": False, "threshold": 0.8, "floor": 0.7},
    FUZZY,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("vectors")
    write_inputs(path)
    return path


def config(folder: Path, model: Path, **changes: Any) -> Config:
    settings = recipe(folder, model, STAGES).model_dump(mode="json") | changes
    return Config.model_validate(settings)


@pytest.fixture(scope="module")
def run(folder: Path, tiny: Path) -> RunFolder:
    select = {"method": "rds", "budget": {"rows": 5}}
    compare = [{"method": "embed", "compare": "prompt", "budget": {"rows": 5}}]
    changed = config(folder, tiny, select=select, compare=compare)
    return open_run(finish(changed, folder / "run"))


def texts(run: RunFolder, role: str, turns: slice) -> dict[str, str]:
    rows = run.rows(role)
    assert rows is not None
    return {
        row_id: "\n".join(turn["content"] for turn in messages[turns])
        for row_id, messages in rows.select("row_id", "messages").collect().iter_rows()
    }


def embedded(run: RunFolder, start: str) -> VectorSpace:
    [space] = [one for one in find_vectors(run).spaces if one.label.startswith(start)]
    return space


@pytest.mark.parametrize(
    ("start", "turns"), [("whole rows by the embedder", slice(None)), ("prompts", slice(-1))]
)
def test_an_embedders_vector_is_that_of_the_rows_text(
    run: RunFolder, start: str, turns: slice
) -> None:
    stored, space = find_vectors(run), embedded(run, start)
    positions = np.flatnonzero(space.pool.present)
    ids = stored.pool.gather(positions).to_list()
    own = texts(run, "pool", turns)
    expected = embed_texts([own[row_id] for row_id in ids], "static")
    np.testing.assert_array_equal(space.pool.read(positions), expected)


def test_the_rows_with_vectors_are_those_that_a_step_read(run: RunFolder) -> None:
    stored = find_vectors(run)
    judged = pl.read_parquet(run.path / "evidence" / "semantic.parquet")["row_id"]
    kept = pl.read_parquet(run.path / "ledger.parquet").filter(pl.col("fate") != "dropped")
    for start, ids in (("whole rows by the embedder", judged), ("prompts", kept["row_id"])):
        present = stored.pool.filter(pl.Series(embedded(run, start).pool.present))
        assert set(present) == set(ids)
    assert stored.spaces[0].rows == max(space.rows for space in stored.spaces)
    assert stored.lost == 0


def test_the_target_examples_have_vectors_of_the_same_model(run: RunFolder) -> None:
    stored, space = find_vectors(run), embedded(run, "prompts")
    assert space.target is not None
    own = texts(run, "target", slice(-1))
    expected = embed_texts([own[row_id] for row_id in stored.target.to_list()], "static")
    positions = np.arange(len(stored.target))
    np.testing.assert_array_equal(space.target.read(positions), expected)


def test_vectors_of_the_base_model_are_nearest_to_those_of_the_same_text(run: RunFolder) -> None:
    stored, space = find_vectors(run), embedded(run, "whole rows by the base model")
    positions = np.flatnonzero(space.pool.present)
    vectors = space.pool.read(positions)
    ids = stored.pool.gather(positions).to_list()
    scores = pl.read_parquet(run.path / "evidence" / "scores.parquet")
    assert space.target is not None
    target = space.target.read(np.flatnonzero(space.target.present))
    unit, other = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (vectors, target))
    best = dict(zip(ids, (unit @ other.T).max(axis=1), strict=True))
    for row_id, score in scores.select("row_id", "score").iter_rows():
        assert best[row_id] == pytest.approx(score, abs=2e-3)


@pytest.fixture
def moved(run: RunFolder, folder: Path, tmp_path: Path) -> RunFolder:
    """The run with a store of its own, which a test may damage."""
    shutil.copytree(run.path, tmp_path / "run")
    shutil.copytree(folder / "store", tmp_path / "store")
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    manifest["store"] = str(tmp_path / "store")
    (tmp_path / "run" / "manifest.json").write_text(json.dumps(manifest))
    return open_run(tmp_path / "run")


def test_blocks_that_the_store_lost_are_counted(moved: RunFolder, tmp_path: Path) -> None:
    blocks = [path for path in (tmp_path / "store").glob("embed-*") if path.is_dir()]
    for path in blocks:
        shutil.rmtree(path)
    stored = find_vectors(moved)
    assert stored.lost == len(blocks) > 1
    assert [space.label.partition(",")[0] for space in stored.spaces] == [
        "whole rows by the base model"
    ]


def test_a_damaged_file_is_a_sentence(moved: RunFolder, tmp_path: Path) -> None:
    for path in (tmp_path / "store").glob("embed-*/vectors.npy"):
        path.write_bytes(path.read_bytes()[:100])
    space = embedded(moved, "prompts")
    with pytest.raises(UserError, match="damaged vectors"):
        space.pool.read(np.flatnonzero(space.pool.present))


def test_a_store_without_the_rows_is_a_sentence(moved: RunFolder, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "store")
    with pytest.raises(UserError, match="has lost the rows"):
        find_vectors(moved)


def test_a_run_that_embedded_nothing_has_no_vectors(folder: Path, tiny: Path) -> None:
    changed = config(folder, tiny, stages=[{"method": "exact"}], target=None)
    plain = open_run(finish(changed, folder / "plain"))
    stored = find_vectors(plain)
    assert (stored.spaces, stored.blocks, stored.lost) == ((), 0, 0)
