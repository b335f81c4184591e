"""Facility location: lazy is plain greedy, near the optimum, and no matrix of all with all."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from scipy.sparse import csc_array

from curate.core.store import Store
from curate.models.neighbours.nearest import NearestRows, nearest_rows
from curate.selectors.facility import order_lazily, represent, served_rows
from tests.conftest import row, turns
from tests.selectors.poolruns import EXACT, Matrix, check_contract, clumps, make_run, scored, unit


def value(similar: NDArray[np.floating], chosen: list[int]) -> float:
    return float(similar[:, chosen].max(axis=1).sum()) if chosen else 0.0


def plain_greedy(similar: NDArray[np.floating]) -> tuple[list[int], list[float]]:
    """Evaluate every row that is left at every step; ties to the first row."""
    chosen: list[int] = []
    gains: list[float] = []
    while len(chosen) < len(similar):
        more = {
            j: value(similar, [*chosen, j]) - value(similar, chosen)
            for j in range(len(similar))
            if j not in chosen
        }
        chosen.append(max(more, key=lambda j: (more[j], -j)))
        gains.append(more[chosen[-1]])
    return chosen, gains


# Eighths add up exactly, and few of them make many ties.
SIMILAR = st.integers(1, 9).flatmap(
    lambda n: hnp.arrays(np.float32, (n, n), elements=st.sampled_from([0, 0, 0.125, 0.5, 0.875, 1]))
)


@given(SIMILAR)
def test_lazy_is_plain_greedy_to_the_last_tie(similar: Matrix) -> None:
    order = order_lazily(csc_array(similar))
    chosen, gains = plain_greedy(similar)
    assert order.rows.tolist() == chosen
    assert order.gains.tolist() == gains
    assert (np.diff(order.gains) <= 0).all()
    assert order.gains.sum() == value(similar, chosen)


@pytest.mark.parametrize("neighbours", [1, 3, 8, 60, 999])
def test_each_row_adds_most_of_all_that_are_left_to_the_rows_it_is_near_to(neighbours: int) -> None:
    vectors = clumps([30, 20, 8, 2], 12, 1.0, 5)
    cosines = vectors.astype(np.float64) @ vectors.T.astype(np.float64)
    similar = np.zeros_like(cosines)
    for i in range(len(vectors)):
        near = np.argsort(-cosines[i])[:neighbours]
        similar[i, near] = np.maximum(cosines[i, near], 0)
    order = represent(vectors, neighbours)
    assert sorted(order.rows) == list(range(60))
    for place in range(60):
        before = order.rows[:place].tolist()
        more = [value(similar, [*before, j]) - value(similar, before) for j in order.rows[place:]]
        assert order.gains[place] == pytest.approx(more[0], abs=1e-5)
        assert more[0] >= max(more) - 1e-5


@pytest.mark.parametrize("seed", range(5))
def test_greedy_is_within_1_minus_1_over_e_of_the_best(seed: int) -> None:
    vectors = unit(9, 3, seed) if seed % 2 else clumps([4, 3, 2], 4, 0.7, seed)
    similar = np.maximum(vectors @ vectors.T, 0)
    rows = represent(vectors, 9).rows.tolist()
    for count in range(1, 6):
        best = max(value(similar, list(s)) for s in itertools.combinations(range(9), count))
        assert value(similar, rows[:count]) >= (1 - 1 / np.e) * best - 1e-6


def test_the_nearest_rows_are_exact_in_a_small_pool() -> None:
    vectors = unit(300, 16, 0)
    near = nearest_rows(vectors, 10)
    rows, cosines = near.numbers, near.cosines
    products = vectors @ vectors.T
    np.testing.assert_array_equal(rows, np.argsort(-products, axis=1)[:, :10])
    np.testing.assert_allclose(cosines, -np.sort(-products, axis=1)[:, :10], atol=1e-6)


def test_most_nearest_rows_are_found_in_a_large_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clumps([200] * 15, 24, 1.0, 2)
    exact = nearest_rows(vectors, 20).numbers
    monkeypatch.setattr("curate.models.neighbours.nearest.EXACT_ROWS", 1_000)
    near = nearest_rows(vectors, 20)
    rows = near.numbers
    recalls = [len(set(a) & set(b)) / 20 for a, b in zip(exact, rows, strict=True)]
    assert np.mean(recalls) > 0.9
    assert near.recall == pytest.approx(np.mean(recalls), abs=0.02)
    assert represent(vectors, 20).counts == {"recall": near.recall}
    assert sorted(represent(vectors, 20).rows) == list(range(3_000))


def test_rows_that_were_not_found_count_for_nothing() -> None:
    rows = np.array([[0, -1], [1, 0], [0, 1]])
    cosines = np.array([[1, -3], [1, 0.5], [0.75, 0.25]], dtype=np.float32)
    expected = [[1, 0, 0], [0.5, 1, 0], [0.75, 0, 1]]
    assert served_rows(NearestRows(rows, cosines)).toarray().tolist() == expected


def test_a_row_stands_for_itself_among_many_equal_ones() -> None:
    vectors = np.vstack([np.repeat(EXACT[:1], 30, axis=0), np.zeros((3, 4), dtype=np.float32)])
    near = served_rows(nearest_rows(vectors, 4))
    assert near.diagonal().tolist() == [1] * 33
    assert sorted(represent(vectors, 4).rows) == list(range(33))


def test_large_clumps_come_before_small_ones() -> None:
    sizes = [40, 25, 12, 6, 3]
    clump = np.repeat(np.arange(5), sizes)
    order = represent(clumps(sizes, 32, 0.1, 1), 64)
    assert clump[order.rows[:5]].tolist() == [0, 1, 2, 3, 4]


def test_the_table_holds_gains_in_their_order(store: Store) -> None:
    rows = [row(f"r{i}", turns(f"cats and dogs {i}", "yes")) for i in range(9)]
    rows.append(row("r9", turns("quantum chromodynamics", "gluons")))
    table = scored(make_run(store, rows), "facility")
    assert table["place"].to_list() == list(range(1, 11))
    assert table["score"].to_list() == sorted(table["score"], reverse=True)
    assert "r9" in table["row_id"][:2].to_list()


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "facility")
    check_contract(store, "facility", neighbours=5, compare="response")
