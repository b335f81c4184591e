"""Centred and whitened representations against numpy's own statistics."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.whitening import basis, moments, scaled_directions, transform
from tests.conftest import stored_table
from tests.selectors.targetruns import stored_vectors

Vectors = NDArray[np.float32]


def unit_vectors(rows: int, width: int, seed: int = 0) -> Vectors:
    """Return vectors that share a large component, along directions of unlike variance."""
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(rows, width)) * np.linspace(2, 0.1, width) + 3
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def pool_basis(
    store: Store, vectors: Vectors, cuts: list[int], directions: int
) -> NDArray[np.float64]:
    kept = stored_table(
        store, "kept", pl.DataFrame({"row_id": [f"r{i}" for i in range(len(vectors))]})
    )
    blocks = [stored_vectors(store, part, "index") for part in np.split(vectors, cuts)]
    return basis(kept=kept, measured=kept, blocks=blocks, directions=directions)


def cosines(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.outer(np.linalg.norm(one, axis=1), np.linalg.norm(other, axis=1))
    products: NDArray[np.float64] = one @ other.T / lengths
    return products


def test_mean_and_covariance_are_numpys() -> None:
    vectors = unit_vectors(200, 12)
    mean, covariance, rows = moments([vectors])
    assert rows == 200
    assert mean == pytest.approx(vectors.mean(axis=0), abs=1e-5)
    assert covariance == pytest.approx(np.cov(vectors.T, bias=True), abs=1e-5)


@given(cuts=st.lists(st.integers(0, 60), max_size=4))
def test_blocks_change_no_bit(cuts: list[int]) -> None:
    vectors = unit_vectors(60, 8)
    whole, parts = moments([vectors]), moments(np.split(vectors, sorted(cuts)))
    assert np.array_equal(whole[0], parts[0])
    assert np.array_equal(whole[1], parts[1])


def test_a_vector_that_is_not_finite_has_no_part() -> None:
    vectors = unit_vectors(50, 8)
    faulty = np.insert(vectors, 7, np.nan, axis=0)
    assert moments([faulty])[2] == 50
    assert np.array_equal(moments([faulty])[1], moments([vectors])[1])


def test_whitened_rows_have_one_variance_in_all_directions() -> None:
    """But for the floor: L / (L + e), one common factor apart."""
    vectors = unit_vectors(500, 16)
    mean, covariance, _ = moments([vectors])
    directions = scaled_directions(covariance, 4)
    coordinates = (vectors - mean) @ directions.T
    spread = np.cov(coordinates.T, bias=True)
    largest = np.linalg.eigvalsh(covariance)[::-1][:4]
    expected = largest / (largest + 0.01 * largest.mean())
    assert spread / spread[0, 0] == pytest.approx(np.diag(expected / expected[0]), abs=1e-4)


def test_cosines_are_those_of_the_formula(store: Store) -> None:
    vectors, targets = unit_vectors(400, 16), unit_vectors(5, 16, seed=1)
    rows = pool_basis(store, vectors, [100, 333], 4)
    mean, covariance = vectors.mean(axis=0), np.cov(vectors.T, bias=True)
    variances, axes = np.linalg.eigh(covariance)
    kept = variances[-4:]
    weights = axes[:, -4:] / np.sqrt(kept + 0.01 * kept.mean())
    plain = cosines((vectors - mean) @ weights, (targets - mean) @ weights)
    assert transform(vectors, rows) @ transform(targets, rows).T == pytest.approx(plain, abs=1e-3)


def test_centring_alone_takes_the_mean(store: Store) -> None:
    vectors, targets = unit_vectors(100, 8), unit_vectors(3, 8, seed=1)
    rows = pool_basis(store, vectors, [], 0)
    assert rows.shape == (1, 8)
    mean = vectors.mean(axis=0)
    plain = cosines((vectors - mean).astype(np.float64), (targets - mean).astype(np.float64))
    assert transform(vectors, rows) @ transform(targets, rows).T == pytest.approx(plain, abs=1e-4)
    # What all share lifts the plain cosines.
    assert (vectors @ targets.T).mean() > plain.mean() + 0.3


def test_a_shift_of_all_vectors_changes_no_cosine(store: Store) -> None:
    vectors, targets = (
        unit_vectors(200, 12) / np.float32(4),
        unit_vectors(4, 12, seed=1) / np.float32(4),
    )
    plain, moved = (
        transform(vectors + by, rows) @ transform(targets + by, rows).T
        for by in (np.float32(0), np.float32(0.1))
        for rows in [pool_basis(store, vectors + by, [], 3)]
    )
    assert moved == pytest.approx(plain, abs=5e-3)


def test_the_mean_itself_has_no_direction() -> None:
    rows = np.vstack([np.full(4, 0.25), np.eye(4)[:2]])
    assert transform(np.full((1, 4), 0.25), rows).tolist() == [[0, 0]]


@pytest.mark.parametrize(("rows", "most"), [(30, 3), (400, 4)])
def test_too_many_directions_are_refused(store: Store, rows: int, most: int) -> None:
    with pytest.raises(UserError, match=f"give {most} or fewer"):
        pool_basis(store, unit_vectors(rows, 16), [], most + 1)
