"""GIP's greedy order against projections by pseudo-inverse and a search through all rows."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.store import Store
from curate.selectors.gip import choose_rows, scores
from tests.selectors.targetruns import bundled_run, embedded, precision, ranked, target_run

Matrix = NDArray[np.float64]


def unit(shape: tuple[int, int], seed: int) -> Matrix:
    vectors = np.random.default_rng(seed).normal(size=shape)
    units: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def outside(vectors: Matrix, chosen: Matrix) -> Matrix:
    """Return what of vectors lies outside the span of the chosen rows."""
    if not len(chosen):
        return vectors
    remains: Matrix = vectors - vectors @ np.linalg.pinv(chosen) @ chosen
    return remains


def brute_force(vectors: Matrix, target: Matrix, chosen: list[int]) -> Matrix:
    """Return the gain of every row next to those chosen."""
    rows = outside(vectors, vectors[chosen])
    queries = outside(target, vectors[chosen])
    lengths = (rows**2).sum(axis=1)
    products = np.maximum(rows @ queries.T, 0)
    return np.where(lengths < 1e-6, 0, (products**2).sum(axis=1) / np.maximum(lengths, 1e-12))


@given(seed=st.integers(0, 999), examples=st.integers(1, 5))
def test_each_pick_adds_most(seed: int, examples: int) -> None:
    vectors, target = unit((15, 8), seed), unit((examples, 8), seed + 5000)
    picks = choose_rows(vectors, target, 6)
    for number, (row, gain) in enumerate(zip(picks.rows, picks.gains, strict=True)):
        if picks.rounds[number] > 1:
            break
        gains = brute_force(vectors, target, picks.rows[:number])
        assert gain == pytest.approx(gains.max(), abs=1e-5)
        assert gains[row] == pytest.approx(gains.max(), abs=1e-5)


def test_gains_add_up_to_what_the_span_holds() -> None:
    """Of one example nothing positive is cut, so the sum is F."""
    vectors, target = unit((30, 6), 0), unit((1, 6), 1)
    picks = choose_rows(vectors, target, 3)
    chosen = vectors[picks.rows]
    held = ((target - outside(target, chosen)) ** 2).sum()
    assert sum(picks.gains) == pytest.approx(held, abs=1e-5)


def test_with_one_example_the_nearest_row_is_first() -> None:
    vectors, target = unit((50, 8), 0), unit((1, 8), 1)
    assert choose_rows(vectors, target, 1).rows == [int((vectors @ target[0]).argmax())]


def test_the_rows_of_the_worked_example() -> None:
    vectors = np.array([[1, 0], [0.96, 0.28], [0, 1]])
    target = np.array([[1, 0], [0.8, 0.6]])
    picks = choose_rows(vectors, target, 2)
    assert picks.rows == [1, 2]
    assert picks.gains[0] == pytest.approx(0.9216 + 0.936**2, abs=1e-6)


def test_the_opposite_of_an_example_is_worth_nothing() -> None:
    target = unit((1, 8), 1)
    vectors = np.vstack([-target, unit((3, 8), 0)])
    assert 0 not in choose_rows(vectors, target, 2).rows


def test_a_copy_waits_for_the_next_round() -> None:
    vectors = np.repeat(unit((4, 3), 0), 2, axis=0)
    picks = choose_rows(vectors, unit((2, 3), 1), 8)
    first = [row // 2 for row, number in zip(picks.rows, picks.rounds, strict=True) if number == 1]
    assert len(set(first)) == len(first) <= 3
    assert max(picks.rounds) > 1


def test_rounds_go_on_when_the_space_is_full() -> None:
    vectors = np.abs(unit((40, 3), 0))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    picks = choose_rows(vectors, np.abs(unit((4, 3), 1)), 40)
    assert len(set(picks.rows)) == len(picks.rows)
    assert max(np.bincount(picks.rounds)) <= 3


def test_the_order_of_the_pool_changes_no_rank(store: Store) -> None:
    words = ["table", "seven", "window", "north", "campus", "prove", "river", "eight", "booking"]
    rng = np.random.default_rng(0)
    pool = {f"r{i:02}": " ".join(rng.choice(words, size=5)) for i in range(40)}
    target = ["book a table", "at eight in the evening", "north campus"]
    order = ranked(target_run(store, pool, target), "gip", limit=30)
    mixed = target_run(store, dict(reversed(pool.items())), target)
    assert ranked(mixed, "gip", limit=30) == order


def test_beyond_the_limit_rows_go_by_what_each_adds_alone(store: Store) -> None:
    vectors = unit((12, 6), 0).astype(np.float32)
    target = unit((2, 6), 1).astype(np.float32)
    table = scores(embedded(store, vectors, target), 3).result
    rest = table.filter(pl.col("round").is_null())
    assert rest.height == 9
    assert rest["score"].is_sorted(descending=True)
    alone = (np.maximum(vectors @ target.T, 0) ** 2).sum(axis=1)
    numbers = [int(name[1:]) for name in rest["row_id"]]
    assert rest["score"].to_numpy() == pytest.approx(alone[numbers], abs=1e-5)


def test_the_bundled_family_is_found(store: Store) -> None:
    """9.3 % of the pool. Rows that add a direction crowd out some of the nearest."""
    assert precision(ranked(bundled_run(store), "gip", limit=60)[:60]) >= 0.5
