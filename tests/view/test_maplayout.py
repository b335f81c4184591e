"""The plane of a map: against numpy's singular value decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from curate.view.maplayout import ROWS_AT_ONCE, principal_plane


def vectors(rows: int, width: int, seed: int = 0) -> NDArray[np.float32]:
    """Return vectors whose directions differ in variance, around a centre of their own."""
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(width, width)) * np.linspace(4, 0.1, width)[:, None]
    return (rng.normal(size=(rows, width)) @ spread + 3).astype(np.float32)


@pytest.mark.parametrize(("rows", "width"), [(3, 2), (40, 5), (30, 60), (ROWS_AT_ONCE + 3, 8)])
def test_coordinates_are_those_of_the_singular_values(rows: int, width: int) -> None:
    data = vectors(rows, width)
    plane = principal_plane(data)
    centred = data.astype(np.float64) - data.astype(np.float64).mean(axis=0)
    left, values, right = np.linalg.svd(centred, full_matrices=False)
    expected = (left * values)[:, :2]
    signs = np.sign((right[:2] * plane.axes).sum(axis=1))
    np.testing.assert_allclose(plane.project(data), expected * signs, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(plane.shares, (values**2 / (values**2).sum())[:2], rtol=1e-6)
    for axis in plane.axes:
        assert axis[np.abs(axis).argmax()] > 0


def test_the_order_of_rows_changes_no_axis() -> None:
    data = vectors(50, 6)
    one, two = principal_plane(data), principal_plane(data[::-1].copy())
    np.testing.assert_allclose(one.axes, two.axes, atol=1e-9)


@pytest.mark.parametrize("shape", [(0, 4), (0, 0), (1, 4), (5, 1), (2, 2)])
def test_few_vectors_have_a_finite_map(shape: tuple[int, int]) -> None:
    data = np.arange(shape[0] * shape[1], dtype=np.float32).reshape(shape)
    places = principal_plane(data).project(data)
    assert places.shape == (shape[0], 2)
    assert np.isfinite(places).all()


def test_equal_vectors_lie_on_one_point() -> None:
    data = np.ones((4, 3), dtype=np.float32)
    plane = principal_plane(data)
    assert np.abs(plane.project(data)).max() == 0
    assert plane.shares == (0.0, 0.0)
