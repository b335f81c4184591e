"""Neighbours: every search against a plain product of all with all, ties included."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.models.embed import unit
from curate.models.neighbours import allpairs, cells
from curate.models.neighbours.allpairs import find_pairs
from curate.models.neighbours.cells import find_centres
from curate.models.neighbours.nearest import nearest, nearest_rows
from curate.models.neighbours.paircollector import Neighbours
from curate.models.neighbours.stacked import SelectedVectors, StackedVectors


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
def search(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.param == "cells":
        monkeypatch.setattr(allpairs, "BRUTE_ROWS", 20)
        monkeypatch.setattr(allpairs, "BRUTE_SHARE", 1.0)
        monkeypatch.setattr(cells, "BLOCK_COSINES", 5_000)


@pytest.mark.usefixtures("search")
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
    monkeypatch.setattr(allpairs, "BRUTE_ROWS", 1_000)
    monkeypatch.setattr(allpairs, "BRUTE_SHARE", 1.0)
    vectors = clustered(3_000, 24, 1, spread=0.15)
    pairs = find_pairs(vectors, one_group(vectors), 0.93)
    assert pair_set(pairs) == all_pairs(vectors, 0.93)
    centres = find_centres(vectors)
    own = (vectors @ centres.T).argmax(axis=1)
    # SemDeDup itself, which looks inside cells only, would lose these.
    assert (own[pairs.first] != own[pairs.second]).mean() > 0.02


@pytest.mark.usefixtures("search")
def test_rows_of_other_groups_are_no_pair() -> None:
    vectors = clustered(600, 16, 4)
    groups = np.random.default_rng(0).integers(-1, 3, len(vectors))
    pairs = find_pairs(vectors, groups, 0.8)
    expected = {(a, b) for a, b in all_pairs(vectors, 0.8, groups) if groups[a] >= 0}
    assert pair_set(pairs) == expected


@pytest.mark.usefixtures("search")
def test_the_order_of_rows_does_not_matter() -> None:
    vectors = clustered(700, 16, 5)
    order = np.random.default_rng(1).permutation(len(vectors))
    straight = find_pairs(vectors, one_group(vectors), 0.8)
    mixed = find_pairs(vectors[order], one_group(vectors), 0.8)
    back = {tuple(sorted((int(order[a]), int(order[b])))) for a, b in pair_set(mixed)}
    assert back == pair_set(straight)


@pytest.mark.usefixtures("search")
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


@pytest.mark.usefixtures("search")
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


# --- near cells alone -----------------------------------------------------------------------------


def test_near_cells_find_most_pairs_and_the_recall_tells_how_many() -> None:
    vectors = clustered(4_000, 24, 9, spread=0.3)
    every = pair_set(find_pairs(vectors, one_group(vectors), 0.9))
    some = find_pairs(vectors, one_group(vectors), 0.9, exact_rows=1_000)
    assert pair_set(some) <= every
    true = len(some.first) / len(every)
    assert some.recall is not None
    # 512 of 4,000 rows are sampled, and a pair counts from either side.
    assert some.recall == pytest.approx(true, abs=0.03)
    assert true > 0.9


def test_the_recall_falls_with_the_cells_that_a_row_visits(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clustered(4_000, 24, 9, spread=0.3)
    recalls = []
    for visited in (1, 2, 16):
        monkeypatch.setattr(cells, "VISITED", visited)
        recalls.append(find_pairs(vectors, one_group(vectors), 0.8, exact_rows=1_000).recall)
    assert recalls == sorted(recalls)  # type: ignore[type-var]
    assert recalls[0] < 0.9 < recalls[-1]  # type: ignore[operator]


def test_a_search_of_all_rows_measures_no_recall() -> None:
    vectors = clustered(300, 16, 1)
    assert find_pairs(vectors, one_group(vectors), 0.8).recall is None
    assert nearest_rows(vectors, 5).recall is None


def test_groups_within_the_limit_are_exact_beside_one_beyond_it() -> None:
    vectors = clustered(1_500, 16, 3)
    groups = (np.arange(1_500) >= 1_100).astype(np.int64)
    pairs = find_pairs(vectors, groups, 0.8, exact_rows=1_000)
    small = {pair for pair in pair_set(pairs) if pair[0] >= 1_100}
    assert small == {pair for pair in all_pairs(vectors, 0.8, groups) if pair[0] >= 1_100}


# --- the nearest rows -----------------------------------------------------------------------------


def whole_numbers(rng: np.random.Generator, rows: int, width: int) -> NDArray[np.float32]:
    """Return few different vectors: many copies, opposite directions and zeros."""
    return unit(rng.integers(-2, 3, (rows, width)).astype(np.float32))


def by_the_oracle(cosines: NDArray[np.float64], numbers: NDArray[np.int64]) -> list[list[int]]:
    """Return the numbers of each row's columns, nearest first, of equals the smaller number."""
    return [
        [number for _, number in sorted(zip(-row, numbers.tolist(), strict=True))]
        for row in cosines
    ]


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 40),
    st.integers(1, 6),
    st.integers(1, 12),
    st.sampled_from([1, 7, 1_000]),
    st.booleans(),
)
def test_the_nearest_rows_of_blocks_are_those_of_a_plain_product(
    seed: int, rows: int, queries: int, count: int, size: int, numbered: bool
) -> None:
    rng = np.random.default_rng(seed)
    pool, asking = whole_numbers(rng, rows, 3), whole_numbers(rng, queries, 3)
    places = rng.permutation(rows) if numbered else np.arange(rows)
    blocks = [pool[i : i + size] for i in range(0, rows, size)]
    numbers, cosines = nearest(asking, blocks, count, places=places if numbered else None)
    plain = np.round(asking.astype(np.float64) @ pool.astype(np.float64).T, 6) + 0.0
    expected = by_the_oracle(plain, places)
    assert numbers.tolist() == [row[:count] for row in expected]
    best = -np.sort(-plain, axis=1)[:, :count]
    np.testing.assert_allclose(cosines, best, atol=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(1, 40), st.integers(1, 8))
def test_the_nearest_rows_of_every_row_are_those_of_a_plain_product(
    seed: int, rows: int, count: int
) -> None:
    vectors = whole_numbers(np.random.default_rng(seed), rows, 3)
    count = min(count, rows)
    near = nearest_rows(vectors, count)
    steps = np.rint(vectors.astype(np.float64) * 2**26).astype(object)
    # Whole numbers of any size: nothing is rounded.
    exact = steps @ steps.T
    assert near.numbers.tolist() == [row[:count] for row in by_the_oracle(exact, np.arange(rows))]


def test_no_query_and_no_row_have_nothing_near() -> None:
    vectors = clustered(20, 4, 0)
    assert nearest(vectors[:0], [vectors], 3)[0].shape == (0, 3)
    assert nearest(vectors[:2], [], 3)[0].shape == (2, 0)
    assert nearest(vectors[:2], [vectors[:0], vectors[:1], vectors[:0]], 3)[0].tolist() == [
        [0],
        [0],
    ]


# --- vectors on the disk --------------------------------------------------------------------------


@given(st.lists(st.integers(0, 5), max_size=6), st.integers(0, 2**32 - 1))
def test_stacked_blocks_are_indexed_as_the_array_that_they_make(
    sizes: list[int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    blocks = [rng.random((size, 3), dtype=np.float32) for size in sizes]
    stacked = StackedVectors(blocks)
    whole = np.concatenate([np.empty((0, 3), dtype=np.float32), *blocks])
    assert len(stacked) == len(whole)
    for part in (slice(0, None), slice(1, 4), slice(2, 100), slice(None, None, 2)):
        assert stacked[part].tolist() == whole[part].tolist()
    rows = rng.integers(0, max(len(whole), 1), 7 if len(whole) else 0)
    assert stacked[rows].tolist() == whole[rows].tolist()
    order = rng.permutation(len(whole))
    assert SelectedVectors(stacked, order)[:3].tolist() == whole[order][:3].tolist()


@pytest.mark.parametrize("exact_rows", [100, 10_000])
def test_pairs_of_stacked_blocks_are_those_of_one_array(exact_rows: int) -> None:
    vectors = clustered(900, 16, 2)
    groups = (np.arange(900) % 7 == 0).astype(np.int64)
    stacked = StackedVectors([vectors[:1], vectors[1:400], vectors[400:]])
    one, other = (find_pairs(v, groups, 0.8, exact_rows=exact_rows) for v in (vectors, stacked))
    assert pair_set(one) == pair_set(other)
    assert (one.cosine == other.cosine).all()
    assert one.recall == other.recall
