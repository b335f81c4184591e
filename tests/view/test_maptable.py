"""Places of rows on a map: against the vectors, read and projected one by one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from curate.runs.folder import RunFolder, open_run
from curate.runs.vectors import StoredVectors, VectorSpace, find_vectors
from curate.view.maptable import TARGET, RowMap, lay_out


@pytest.fixture
def run(mapped_run: Path) -> RunFolder:
    return open_run(mapped_run)


def spaces(run: RunFolder) -> tuple[StoredVectors, VectorSpace]:
    stored = find_vectors(run)
    return stored, stored.spaces[0]


def lay(run: RunFolder, most: int = 1_000) -> RowMap:
    return lay_out(run, *spaces(run), most)


def test_a_row_lies_where_its_vector_is_projected(run: RunFolder) -> None:
    stored, space = spaces(run)
    positions = np.flatnonzero(space.pool.present)
    vectors = space.pool.read(positions).astype(np.float64)
    centred = vectors - vectors.mean(axis=0)
    plane = np.linalg.svd(centred, full_matrices=False)[2][:2]
    expected = dict(zip(stored.pool.gather(positions), centred @ plane.T, strict=True))
    points = lay_out(run, stored, space).points.filter(pl.col("fate") != TARGET)
    own = points.filter(pl.col("place_of").is_null())
    assert own.height == len(positions)
    places = own.select("x", "y").to_numpy()
    assert np.abs(places).max() == pytest.approx(1)
    table = np.array([expected[row_id] for row_id in own["row_id"]])
    for axis in range(2):
        # Up to a sign and one scale for both.
        ratio = places[:, axis] @ table[:, axis] / (table[:, axis] @ table[:, axis])
        np.testing.assert_allclose(places[:, axis], ratio * table[:, axis], atol=1e-6)
    reach = np.abs(table).max()
    np.testing.assert_allclose(np.abs(places), np.abs(table) / reach, atol=1e-6)


def test_a_duplicate_that_nothing_embedded_lies_at_the_row_it_duplicates(run: RunFolder) -> None:
    row_map = lay(run)
    dropped = pl.read_parquet(run.path / "ledger.parquet").filter(
        pl.col("stage").is_in(["exact", "fuzzy"])
    )
    copies = row_map.points.filter(pl.col("place_of").is_not_null())
    assert set(copies["row_id"]) == set(dropped["row_id"])
    assert row_map.copies == dropped.height > 10
    places = {row[0]: row[1:] for row in row_map.points.select("row_id", "x", "y").iter_rows()}
    kept = dict(dropped.select("row_id", "duplicate_of").iter_rows())
    for row_id in copies["row_id"]:
        assert places[row_id] == places[kept[row_id]]


def test_every_row_and_target_example_is_a_point(run: RunFolder) -> None:
    row_map = lay(run)
    ledger = pl.read_parquet(run.path / "ledger.parquet")
    own = row_map.points.filter(pl.col("fate") != TARGET)
    assert own["row_id"].to_list() == ledger["row_id"].to_list()
    assert own.select("fate", "stage", "reason", "score").equals(
        ledger.select("fate", "stage", "reason", "score")
    )
    assert row_map.points.filter(fate=TARGET).height == 2
    assert (row_map.rows, row_map.drawable, row_map.sampled) == (own.height, own.height, False)


def test_a_sample_has_all_selected_rows_and_is_the_same_every_time(run: RunFolder) -> None:
    one, two = lay(run, most=40), lay(run, most=40)
    assert one.points.equals(two.points)
    assert one.drawn == 40
    assert one.sampled
    selected = pl.read_parquet(run.path / "selected.parquet")["row_id"]
    assert set(selected) == set(one.points.filter(fate="selected")["row_id"])


def test_a_row_without_a_vector_or_a_twin_has_no_place(run: RunFolder) -> None:
    stored, space = spaces(run)
    lost = int(np.flatnonzero(space.pool.present)[3])
    space.pool.block[lost] = -1
    row_map = lay_out(run, stored, space)
    missing = set(stored.pool) - set(row_map.points["row_id"])
    assert stored.pool[lost] in missing
    assert row_map.drawable == row_map.rows - len(missing)
