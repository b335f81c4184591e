"""GIST from stored cosines against the projection itself, on whole gradients."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.selectors.subspace import subspace_similarities

Matrix = NDArray[np.float64]


def unit(shape: tuple[int, int], seed: int) -> Matrix:
    vectors = np.random.default_rng(seed).normal(size=shape)
    units: Matrix = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return units


def projected(rows: Matrix, targets: Matrix, directions: int) -> Matrix:
    """Return the cosines inside the span of the targets' main right singular vectors."""
    basis = np.linalg.svd(targets, full_matrices=False)[2][:directions].T
    assert basis.T @ basis == pytest.approx(np.eye(directions), abs=1e-9)
    one, other = rows @ basis, targets @ basis
    lengths = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    cosines: Matrix = one @ other.T / lengths
    return cosines


def from_cosines(rows: Matrix, targets: Matrix, directions: int, shrink: float = 0) -> Matrix:
    return subspace_similarities(rows @ targets.T, targets @ targets.T, directions, shrink)


@given(seed=st.integers(0, 99), directions=st.integers(1, 6))
def test_cosines_and_the_gram_matrix_are_all_it_takes(seed: int, directions: int) -> None:
    rows, targets = unit((20, 40), seed), unit((6, 40), seed + 1000)
    expected = projected(rows, targets, directions)
    assert from_cosines(rows, targets, directions) == pytest.approx(expected, abs=1e-4)


def test_with_all_directions_it_is_the_cosine_over_the_length_that_the_target_sees() -> None:
    rows, targets = unit((20, 40), 0), unit((6, 40), 1)
    basis = np.linalg.svd(targets, full_matrices=False)[2].T
    visible = np.linalg.norm(rows @ basis, axis=1, keepdims=True)
    assert from_cosines(rows, targets, 6) == pytest.approx(rows @ targets.T / visible, abs=1e-4)


def test_a_rotation_of_all_gradients_changes_nothing() -> None:
    rows, targets = unit((20, 40), 0), unit((6, 40), 1)
    rotation = np.linalg.qr(np.random.default_rng(2).normal(size=(40, 40)))[0]
    turned = from_cosines(rows @ rotation, targets @ rotation, 3)
    assert turned == pytest.approx(from_cosines(rows, targets, 3), abs=1e-6)


def test_the_row_of_the_worked_example() -> None:
    gram = np.array([[1, 0.5], [0.5, 1]])
    one = subspace_similarities(np.array([[0.6, 0.6]]), gram, 1, 0.1)
    length = 1.2 / np.sqrt(2) / np.sqrt(1.5)
    assert one[0] == pytest.approx(length / np.hypot(length, 0.1), abs=1e-5)


def test_a_target_example_in_the_pool_comes_first_for_itself() -> None:
    targets = unit((6, 40), 1)
    rows = np.vstack([unit((30, 40), 0), targets])
    assert from_cosines(rows, targets, 4, 0.1).argmax(axis=0).tolist() == [30, 31, 32, 33, 34, 35]


def test_noise_reaches_the_top_without_shrinking_and_not_with_it() -> None:
    """A twentieth of the rows has something of one target example, the others point anywhere."""
    targets = unit((9, 4_000), 1)
    own = targets[np.random.default_rng(0).integers(9, size=100)]
    rows = np.vstack([0.15 * own + unit((100, 4_000), 2), unit((1_900, 4_000), 3)])
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)

    def noise_at_the_top(shrink: float) -> int:
        largest = from_cosines(rows, targets, 9, shrink).max(axis=1)
        return int((np.argsort(-largest)[:100] >= 100).sum())

    assert noise_at_the_top(0) > 0
    assert noise_at_the_top(0.1) == 0


def test_a_row_without_a_gradient_stays_without_a_similarity() -> None:
    similar = np.array([[0.5, 0.1], [np.nan, np.nan]])
    inside = subspace_similarities(similar, np.eye(2), 1, 0.1)
    assert np.isfinite(inside[0]).all()
    assert np.isnan(inside[1]).all()
