"""k-center greedy: the plain loop's order, covering radii, and at most twice the best radius."""

from __future__ import annotations

import itertools

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.store import Store
from curate.selectors.kcenter import choose_centres
from tests.conftest import row, turns
from tests.selectors.poolruns import (
    EXACT,
    Matrix,
    check_contract,
    clumps,
    make_run,
    ranked,
    sample_pool,
    scored,
    unit,
)

WITH_ZERO = np.vstack([EXACT, np.zeros((1, 4), dtype=np.float32)])
SAMPLES = st.lists(st.integers(0, 24), min_size=1, max_size=30).map(lambda rows: WITH_ZERO[rows])


def squares(vectors: Matrix) -> Matrix:
    return np.asarray(((vectors[:, None] - vectors[None]) ** 2).sum(axis=2))


def plain_loop(vectors: Matrix, limit: int, first: int) -> tuple[list[int], list[float]]:
    """Choose one row after the other with a whole matrix of distances; ties to the first row."""
    far = squares(vectors)
    chosen, radii = [first], []
    while True:
        left = {i: min(far[i, c] for c in chosen) for i in range(len(vectors))}
        radii.append(max(left.values()) ** 0.5)
        free = [i for i in left if i not in chosen]
        if len(chosen) == limit or not free:
            return chosen, radii
        chosen.append(max(free, key=lambda i: (left[i], -i)))


@given(SAMPLES, st.integers(1, 30), st.sampled_from([1, 2, 5, 100]))
def test_the_order_is_that_of_the_plain_loop_whatever_is_kept_up_to_date(
    vectors: Matrix, limit: int, active: int
) -> None:
    centres = choose_centres(vectors, limit, active=active)
    first = int(np.argmax((vectors @ vectors.mean(axis=0)).round(6)))
    chosen, radii = plain_loop(vectors, limit, first)
    assert centres.rows.tolist() == chosen
    np.testing.assert_allclose(centres.radius, radii, atol=1e-7)
    nearest = squares(vectors)[:, centres.rows].min(axis=1) ** 0.5
    np.testing.assert_allclose(centres.distance, nearest, atol=1e-7)


@pytest.mark.parametrize("active", [1, 7, 64, 10_000])
def test_random_vectors_in_the_order_of_the_plain_loop(active: int) -> None:
    vectors = unit(150, 6, 3)
    centres = choose_centres(vectors, 150, active=active)
    assert centres.rows.tolist() == plain_loop(vectors, 150, int(centres.rows[0]))[0]
    assert (np.diff(centres.radius) <= 1e-6).all()
    assert centres.radius[-1] == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_radius_is_at_most_twice_the_best_one(seed: int) -> None:
    vectors = unit(11, 3, seed) if seed % 2 else clumps([4, 3, 3, 1], 3, 0.5, seed)
    far = squares(vectors) ** 0.5
    radius = choose_centres(vectors, 11).radius
    for count in range(1, 7):
        every = np.array([*itertools.combinations(range(11), count)])
        best = far[:, every].min(axis=2).max(axis=0).min()
        assert radius[count - 1] <= 2 * best + 1e-6


@pytest.mark.parametrize("count", [1, 2, 5, 20])
def test_seeds_go_on_as_the_run_that_chose_them(count: int) -> None:
    vectors = clumps([30, 20, 10], 8, 0.8, 1)
    fresh = choose_centres(vectors, 40)
    again = choose_centres(vectors, 40, seeds=fresh.rows[:count].tolist())
    assert again.rows.tolist() == fresh.rows.tolist()
    np.testing.assert_allclose(again.radius, fresh.radius, atol=1e-6)


def test_the_first_is_nearest_the_mean_and_then_every_clump_has_its_turn() -> None:
    sizes = [50, 20, 5, 1]
    vectors = clumps(sizes, 32, 0.1, 0)
    clump = np.repeat(np.arange(4), sizes)
    centres = choose_centres(vectors, 4)
    assert centres.rows[0] == np.argmax(vectors @ vectors.mean(axis=0))
    assert sorted(clump[centres.rows]) == [0, 1, 2, 3]


def test_copies_come_last_and_zero_vectors_count_once() -> None:
    vectors = np.vstack([np.repeat(EXACT[[0, 2, 4]], 3, axis=0), np.zeros((2, 4), np.float32)])
    centres = choose_centres(vectors, 11)
    assert sorted(centres.rows[:4] // 3) == [0, 1, 2, 3]
    assert centres.radius[3:].tolist() == [0] * 8


def test_beyond_the_limit_rows_come_by_their_distance(store: Store) -> None:
    table = scored(make_run(store, sample_pool()), "kcenter", limit=10)
    assert table["place"].to_list() == list(range(1, 61))
    assert table["score"].to_list() == sorted(table["score"], reverse=True)[:10] + sorted(
        table["score"][10:], reverse=True
    )
    assert table["radius"].null_count() == 50
    assert table["radius"][9] == pytest.approx(table["score"][10], abs=1e-6)
    assert table["score"][0] == pytest.approx(table["radius"][0], abs=1e-6)


def test_a_smaller_limit_is_the_start_of_a_larger(store: Store) -> None:
    run = make_run(store, sample_pool())
    small, whole = scored(run, "kcenter", limit=15), scored(run, "kcenter")
    assert ranked(small, "kcenter")[:15] == ranked(whole, "kcenter")[:15]
    assert whole["radius"].null_count() == 0


def test_one_row_is_a_pool_too(store: Store) -> None:
    table = scored(make_run(store, [row("a", turns("q", "a"))]), "kcenter")
    assert table.select("row_id", "score", "place", "radius").row(0) == ("a", 0, 1, 0)
    assert table.schema["score"] == pl.Float32


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "kcenter", limit=20)
    check_contract(store, "kcenter", compare="prompt")
