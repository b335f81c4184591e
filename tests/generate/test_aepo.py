"""AEPO's choice of two: the best of all pairs by the published objective, at both ends of lambda."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.fixedpoint import cosines
from curate.generate.aepo import choose_pair


def similarities(seed: int, size: int) -> NDArray[np.float64]:
    vectors = np.random.default_rng(seed).normal(size=(size, 3)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return cosines(vectors, vectors)


def objective(similarity: NDArray[np.float64], chosen: tuple[int, ...], diversity: float) -> float:
    """Return what the authors maximise, term by term, for any number of answers."""
    n, k = len(similarity), len(chosen)
    typical = sum(similarity[y, z] for y in chosen for z in range(n) if z != y)
    alike = sum(similarity[y, z] for y in chosen for z in chosen if z != y)
    return float(typical / ((n - 1) * k) - diversity * alike / (k * (k - 1)))


@given(st.integers(0, 10_000), st.integers(2, 9), st.floats(0, 50))
def test_no_pair_has_a_larger_objective(seed: int, size: int, diversity: float) -> None:
    similarity = similarities(seed, size)
    pair = choose_pair(similarity, diversity)
    assert pair[0] < pair[1]
    best = max(objective(similarity, two, diversity) for two in combinations(range(size), 2))
    assert objective(similarity, pair, diversity) == pytest.approx(best)


@given(st.integers(0, 10_000), st.integers(3, 9))
def test_without_lambda_the_two_most_central_ones_are_chosen(seed: int, size: int) -> None:
    similarity = similarities(seed, size)
    central = np.argsort(-similarity.sum(axis=1))[:2]
    assert choose_pair(similarity, 0.0) == tuple(sorted(central.tolist()))


@given(st.integers(0, 10_000), st.integers(2, 9))
def test_with_a_large_lambda_the_pair_is_the_farthest(seed: int, size: int) -> None:
    similarity = similarities(seed, size)
    farthest = min(combinations(range(size), 2), key=lambda two: similarity[two])
    assert choose_pair(similarity, 1e9) == farthest


@given(st.integers(0, 10_000), st.integers(2, 9), st.floats(0, 5))
def test_the_order_of_answers_is_irrelevant(seed: int, size: int, diversity: float) -> None:
    similarity = similarities(seed, size)
    order = np.random.default_rng(seed).permutation(size)
    pair = choose_pair(similarity[np.ix_(order, order)], diversity)
    assert sorted(order[list(pair)].tolist()) == list(choose_pair(similarity, diversity))


def test_a_pair_is_found_that_no_single_exchange_leads_to() -> None:
    """Two crossing diagonals: from the shorter one, any exchange of one end is for the worse."""
    places = np.array([[-1, 0], [1, 0], [0, -1.1], [0, 1.1]])
    similarity = -np.linalg.norm(places[:, None] - places, axis=2)
    assert choose_pair(similarity, 100.0) == (2, 3)


def test_a_similarity_to_itself_does_not_count() -> None:
    similarity = similarities(3, 5)
    filled = similarity + np.diag([9.0, -9.0, 4.0, 0.0, 1.0])
    assert choose_pair(filled, 0.5) == choose_pair(similarity, 0.5)
