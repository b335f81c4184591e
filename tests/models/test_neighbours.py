"""Neighbours: what cells find is what comparing all with all finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.models import neighbours
from curate.models.embed import unit
from curate.models.neighbours import Neighbours, find_centres, find_pairs


def clustered(rows: int, width: int, seed: int, spread: float = 0.25) -> NDArray[np.float32]:
    """Return unit vectors around a few points, with a common direction as real embeddings have."""
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(max(rows // 20, 1), width)) + 0.3
    noise = rng.normal(size=(rows, width)) * spread
    return unit((points[rng.integers(0, len(points), rows)] + noise).astype(np.float32))


def all_pairs(
    vectors: NDArray[np.float32], floor: float, groups: NDArray[np.int64] | None = None
) -> set[tuple[int, int]]:
    """Return the pairs of a full matrix; similarities on the floor itself are nobody's fault."""
    cosines = vectors @ vectors.T
    assert not (np.abs(cosines - floor) < 1e-6).any()
    near = np.triu(cosines >= floor, 1)
    if groups is not None:
        near &= groups[:, None] == groups[None, :]
    return set(zip(*(at.tolist() for at in np.nonzero(near)), strict=True))


def one_group(vectors: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.zeros(len(vectors), dtype=np.int64)


def pair_set(pairs: Neighbours) -> set[tuple[int, int]]:
    return set(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))


@pytest.fixture(params=["all with all", "cells"])
def cells(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "cells":
        monkeypatch.setattr(neighbours, "BRUTE_ROWS", 20)
        monkeypatch.setattr(neighbours, "BRUTE_SHARE", 1.0)
        monkeypatch.setattr(neighbours, "BLOCK_COSINES", 5_000)


@pytest.mark.usefixtures("cells")
@pytest.mark.parametrize("floor", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("seed", range(3))
def test_every_pair_of_the_full_matrix_is_found_once(floor: float, seed: int) -> None:
    vectors = clustered(900, 16, seed)
    pairs = find_pairs(vectors, one_group(vectors), floor)
    assert pair_set(pairs) == all_pairs(vectors, floor)
    assert len(pair_set(pairs)) == len(pairs.first) > 100
    exact = np.einsum("ij,ij->i", vectors[pairs.first], vectors[pairs.second])
    np.testing.assert_allclose(pairs.cosine, exact, atol=2e-6)
    assert (np.diff(pairs.first * len(vectors) + pairs.second) > 0).all()


def test_no_pair_across_cells_is_lost_among_many_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "BRUTE_ROWS", 1_000)
    monkeypatch.setattr(neighbours, "BRUTE_SHARE", 1.0)
    vectors = clustered(6_000, 24, 1, spread=0.15)
    pairs = find_pairs(vectors, one_group(vectors), 0.93)
    assert pair_set(pairs) == all_pairs(vectors, 0.93)
    centres = find_centres(vectors)
    own = (vectors @ centres.T).argmax(axis=1)
    # SemDeDup itself, which looks inside cells only, would lose these.
    assert (own[pairs.first] != own[pairs.second]).mean() > 0.02


@pytest.mark.usefixtures("cells")
def test_rows_of_other_groups_are_no_pair() -> None:
    vectors = clustered(600, 16, 4)
    groups = np.random.default_rng(0).integers(-1, 3, len(vectors))
    pairs = find_pairs(vectors, groups, 0.8)
    expected = {(a, b) for a, b in all_pairs(vectors, 0.8, groups) if groups[a] >= 0}
    assert pair_set(pairs) == expected


@pytest.mark.usefixtures("cells")
def test_the_order_of_rows_does_not_matter() -> None:
    vectors = clustered(700, 16, 5)
    order = np.random.default_rng(1).permutation(len(vectors))
    straight = find_pairs(vectors, one_group(vectors), 0.8)
    mixed = find_pairs(vectors[order], one_group(vectors), 0.8)
    back = {tuple(sorted((int(order[a]), int(order[b])))) for a, b in pair_set(mixed)}
    assert back == pair_set(straight)


@pytest.mark.usefixtures("cells")
@given(
    st.integers(0, 60),
    st.integers(1, 4),
    st.integers(0, 2**32 - 1),
    st.sampled_from([0.1, 0.7, 0.999]),
)
def test_small_sets_with_copies_and_zeros_agree(
    rows: int, width: int, seed: int, floor: float
) -> None:
    rng = np.random.default_rng(seed)
    # Few different vectors, all whole numbers: many copies, opposite directions and zeros.
    vectors = unit(rng.integers(-2, 3, (rows, width)).astype(np.float32))
    pairs = find_pairs(vectors, one_group(vectors), floor)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    sure, possible = np.triu(cosines > floor + 1e-6, 1), np.triu(cosines > floor - 1e-6, 1)
    assert {tuple(pair) for pair in np.argwhere(sure).tolist()} <= pair_set(pairs)
    assert pair_set(pairs) <= {tuple(pair) for pair in np.argwhere(possible).tolist()}


@pytest.mark.usefixtures("cells")
def test_a_dense_cloud_keeps_the_best_later_rows_of_each() -> None:
    vectors = clustered(300, 16, 6, spread=0.01)[:1] + clustered(300, 16, 7) * 0.02
    vectors = unit(vectors.astype(np.float32))
    pairs = find_pairs(vectors, one_group(vectors), 0.5, most=10)
    cosines = vectors @ vectors.T
    for row in (0, 150, 289, 295):
        later = np.arange(row + 1, len(vectors))
        best = later[np.argsort(-cosines[row, later])][:10]
        assert set(pairs.second[pairs.first == row].tolist()) == set(best.tolist())
    assert (pairs.most, pairs.capped) == (10, 289)


def test_no_more_pairs_than_the_limit_are_kept() -> None:
    vectors = unit(np.ones((400, 4), dtype=np.float32) + clustered(400, 4, 8) * 0.05)
    pairs = find_pairs(vectors, one_group(vectors), 0.5, most=100, limit=5_000)
    assert 2_000 < len(pairs.first) <= 5_000
    assert pairs.most == 12
    assert np.bincount(pairs.first).max() <= 12
