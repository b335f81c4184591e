"""Densities: a plain loop over all pairs, and which rows have one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.typing import NDArray

from curate.core.calls import Counted
from curate.core.store import Store
from curate.selectors.density import densities, gather, prefetched, with_density
from tests.conftest import turns
from tests.selectors.lossruns import ModelRun, ranked, scored
from tests.selectors.targetruns import unit_vectors


def looped(vectors: NDArray[np.floating], nearest: int) -> list[float]:
    sums = []
    for one in vectors:
        near = sorted(1 - float(one @ other) for other in vectors)[:nearest]
        sums.append(sum(max(0.0, 1 - 2 * d / 0.75**2) for d in near))
    return sums


@pytest.mark.parametrize("nearest", [3, 40])
def test_densities_are_those_of_a_loop(nearest: int) -> None:
    vectors = unit_vectors((40, 3), 1)
    np.testing.assert_allclose(densities(vectors, nearest), looped(vectors, nearest), atol=1e-5)


def test_the_worked_example() -> None:
    vectors = np.array([[1, 0], [1, 0], [0, 1], [0.8, 0.6]])
    assert densities(vectors, 4) == pytest.approx([2.29, 2.29, 1, 1.58], abs=0.005)


def scores(similar: NDArray[np.float32]) -> Counted[pl.DataFrame]:
    rows, examples = similar.shape
    frame = pl.DataFrame(
        {
            "row_id": [f"r{(7 * i) % rows:03}" for i in range(rows)],
            "score": [None, *similar.max(axis=1)[1:].tolist()],
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, examples)),
        }
    )
    return Counted(frame, {})


def test_rows_near_to_an_example_have_a_density_among_each_other() -> None:
    vectors, targets = unit_vectors((101, 4), 2), unit_vectors((3, 4), 3)
    similar = (vectors @ targets.T).astype(np.float32)
    table = with_density(scores(similar), lambda rows: vectors[rows], 4).result
    # The first row has no score.
    best = {1 + row for column in similar[1:].T for row in np.argsort(-column)[:10]}
    rows = np.array(sorted(best))
    assert np.flatnonzero(table["density"].is_not_null()).tolist() == rows.tolist()
    expected = looped(vectors[rows], 10)
    np.testing.assert_allclose(table["density"].drop_nulls(), expected, atol=1e-5)


def test_each_example_prefetches_fewer_where_there_would_be_too_many() -> None:
    similar = np.random.default_rng(0).normal(size=(400, 8))
    rows = prefetched(similar.T, len(similar), 60)
    assert 8 <= len(rows) <= 60
    for column in similar.T:
        assert set(np.argsort(-column)[:5]) <= set(rows)


def test_without_any_score_there_is_no_density() -> None:
    table = scores(np.ones((1, 2), dtype=np.float32))
    assert with_density(table, lambda rows: np.zeros((len(rows), 2)), 2).result[
        "density"
    ].to_list() == [None]


def test_vectors_are_gathered_over_blocks() -> None:
    vectors = unit_vectors((10, 2), 4)
    rows = np.array([0, 3, 4, 9])
    np.testing.assert_array_equal(gather(np.split(vectors, [4, 4, 7]), rows), vectors[rows])


def test_the_cut_into_slices_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = unit_vectors((50, 5), 5)
    whole = densities(vectors, 7)
    monkeypatch.setattr("curate.models.neighbours.cells.BLOCK_COSINES", 100)
    np.testing.assert_array_equal(densities(vectors, 7), whole)


LESS = {
    "way": "datastore", "dim": 64, "max_length": 96,
    "warmup": {"epochs": 1, "rank": 2, "alpha": 8, "learning_rate": 1e-3, "batch_rows": 8},
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("bm25", {}),
        ("embed", {"embedder": "static"}),
        ("rds", {"whiten": 2}),
        pytest.param("less", LESS, marks=pytest.mark.system),
    ],
)
def test_every_representation_stores_a_density(
    store: Store, tiny: Path, method: str, settings: dict[str, Any]
) -> None:
    """Of 40 rows each example prefetches 4, and a density is that of the 4 nearest."""
    texts = [turns(f"Tell of {i} owls", f"There are {i} owls, {i * i} mice.") for i in range(40)]
    texts[1:6] = [texts[0]] * 5
    run = ModelRun(store, folder=tiny, texts=texts, targets=[texts[0], texts[-1]])
    table = scored(run, method, **settings)
    density = table["density"].drop_nulls()
    assert 4 <= len(density) <= 8
    assert density.is_between(1 - 1e-3, 4 + 1e-3).all()
    if method != "less":
        # Adam's direction of a row is not its own plain gradient, so copies need not be near.
        assert table["density"][:6].drop_nulls().to_list() == pytest.approx([4] * 4, abs=1e-3)
    order = ranked(table, method, **settings, combine="knn_kde")
    assert sorted(order) == table["row_id"].to_list()
    assert set(order[:4]) <= set(table.drop_nulls("density")["row_id"])
