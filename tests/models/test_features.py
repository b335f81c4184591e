"""Stored features: what a precision costs, and vectors of rows over blocks and checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curate.core.store import Artifact, Store
from curate.models.features import (
    feature_similarities,
    read_features,
    read_row_features,
    save_features,
)
from tests.conftest import Computed
from tests.selectors.targetruns import unit_vectors

Matrix = NDArray[np.float32]


def stored_features(store: Store, checkpoints: list[Matrix], precision: str) -> Artifact:
    """Return a block of rows with these features; the first row has no gradient."""
    rows = len(checkpoints[0])

    def write(out: Path) -> dict[str, int]:
        for number, features in enumerate(checkpoints):
            save_features(out, number, features, precision)
        np.save(out / "scored.npy", np.arange(rows) > 0)
        return {"rows_in": rows}

    content = [precision, *(features.tolist() for features in checkpoints)]
    return store.ensure(Computed("features", write, content))


@pytest.mark.parametrize(("precision", "error"), [("float16", 1e-3), ("int8", 1e-2)])
def test_a_precision_moves_similarities_little_and_hardly_a_rank(
    store: Store, precision: str, error: float
) -> None:
    rows, examples = unit_vectors((200, 512), 1), unit_vectors((5, 512), 2)
    block = stored_features(store, [rows], precision)
    target = stored_features(store, [examples], "float16")
    (similar,) = feature_similarities(block, target, 1)
    assert np.isnan(similar[0]).all()
    exact = (rows @ examples.T)[1:]
    np.testing.assert_allclose(similar[1:], exact, atol=error)
    for one, other in zip(similar[1:].T, exact.T, strict=True):
        assert spearmanr(one, other).statistic > 0.998


def test_a_row_of_zeros_stays_one(store: Store) -> None:
    block = stored_features(store, [np.zeros((2, 4), dtype=np.float32)], "int8")
    assert not read_features(block, 0).any()


def test_products_of_rows_are_weighted_means_of_their_cosines(store: Store) -> None:
    checkpoints = [unit_vectors((9, 6), seed) for seed in (3, 4)]
    blocks = [
        stored_features(store, [features[part] * 0.5 for features in checkpoints], "float16")
        for part in (slice(0, 4), slice(4, 9))
    ]
    rows = np.array([1, 3, 5, 8])
    vectors = read_row_features(blocks, [0.75, 0.25], rows)
    one, other = (features[rows] @ features[rows].T for features in checkpoints)
    np.testing.assert_allclose(vectors @ vectors.T, 0.75 * one + 0.25 * other, atol=2e-3)
