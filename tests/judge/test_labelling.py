"""Rows drawn for labels: chances that are known, weights that make up for them, batches that differ."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.judge.labelling import (
    RANDOM,
    Candidates,
    chances_of,
    density_of,
    doubt_of,
    draw_rows,
    near_together,
    systematic,
)


def candidates(rows: int, threshold: float | None = 0.3, seed: int = 0) -> Candidates:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    ids = pl.Series("row_id", [f"r{i:04}" for i in range(rows)])
    return Candidates(ids, rng.random(rows), threshold, vectors)


def test_doubt_is_greatest_at_the_threshold_and_for_rows_without_a_score() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, np.nan])
    doubts = doubt_of(scores, 0.3)
    assert doubts.argmax() in (1, 4)
    assert doubts[4] == 1
    assert list(doubt_of(scores, None)[:4]) == sorted(doubt_of(scores, None)[:4], reverse=True)


def test_density_is_that_of_the_nearest_rows() -> None:
    vectors = np.array([[1, 0], [1, 0], [1, 0], [0, 1], [0, 0]], dtype=np.float32)
    densities = density_of(vectors)
    assert densities[0] == pytest.approx(2 / 3)
    assert densities[3] == 0
    assert densities[4] == pytest.approx(densities[:4].mean())


@given(
    st.lists(st.floats(0, 1e6), min_size=1, max_size=40),
    st.integers(1, 40),
)
def test_chances_sum_to_the_count_and_none_is_below_its_share_of_a_random_draw(
    use: list[float], count: int
) -> None:
    count = min(count, len(use))
    chances = chances_of(np.array(use), count)
    assert chances.sum() == pytest.approx(count)
    assert chances.max() <= 1 + 1e-9
    assert chances.min() >= RANDOM * count / len(use) - 1e-9


@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=30), st.floats(0, 0.999))
def test_a_systematic_draw_takes_each_row_at_most_once(parts: list[float], start: float) -> None:
    chances = chances_of(np.array(parts), max(len(parts) // 2, 1))
    drawn = systematic(chances, start)
    assert len(drawn) == len(set(drawn)) == max(len(parts) // 2, 1)


def test_rows_of_one_centre_stand_together() -> None:
    vectors = np.array([[1, 0], [0, 1], [1, 0], [0, 1]], dtype=np.float32)
    order = near_together(vectors, np.array([0, 1]), np.array([3, 2, 1, 0]))
    assert order.tolist() == [2, 0, 3, 1]


def test_a_draw_is_that_of_its_seed_and_has_no_row_twice() -> None:
    one, again, other = (draw_rows(candidates(300), 40, seed) for seed in (1, 1, 2))
    assert one.equals(again)
    assert not one.equals(other)
    assert one["row_id"].n_unique() == one.height == 40
    assert one["weight"].max() <= 1 / RANDOM + 1e-6  # type: ignore[operator]


def test_more_rows_than_there_are_is_all_of_them_alike() -> None:
    drawn = draw_rows(candidates(8), 50, 0)
    assert drawn.height == 8
    assert drawn["weight"].to_list() == [1.0] * 8


def test_without_scores_or_vectors_rows_are_drawn_at_random() -> None:
    ids = pl.Series("row_id", [f"r{i}" for i in range(100)])
    drawn = draw_rows(Candidates(ids, np.full(100, np.nan), None), 10, 0)
    assert drawn["weight"].to_list() == [1.0] * 10
    assert drawn["score"].null_count() == 10


def test_doubtful_rows_come_more_often_and_weighted_shares_are_those_of_all_rows() -> None:
    rows = candidates(400, threshold=None)
    right = rows.scores > 0.25 + 0.2 * np.random.default_rng(5).normal(size=400)
    places = {name: i for i, name in enumerate(rows.ids)}
    shares, plain, scores = [], [], []
    for seed in range(100):
        drawn = draw_rows(rows, 40, seed)
        at = [places[name] for name in drawn["row_id"]]
        shares.append(np.average(right[at], weights=drawn["weight"]))
        plain.append(right[at].mean())
        scores.append(rows.scores[at].mean())
    # Four standard errors of the mean of 100 draws.
    error = 4 * float(np.std(shares)) / 10
    assert np.mean(shares) == pytest.approx(right.mean(), abs=error)
    assert abs(np.mean(plain) - right.mean()) > 2 * error
    assert np.mean(scores) < rows.scores.mean() - 0.05
