"""The Vendi score: by the plain kernel, at its ends, and whichever matrix is the smaller one."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.models.vendi import vendi_score


def unit_vectors(count: int, width: int, seed: int) -> NDArray[np.float32]:
    vectors = np.random.default_rng(seed).normal(size=(count, width))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


@given(st.integers(1, 12), st.integers(2, 12), st.integers(0, 99))
def test_it_is_the_entropy_of_the_kernel(count: int, width: int, seed: int) -> None:
    vectors = unit_vectors(count, width, seed)
    kernel = vectors.astype(float) @ vectors.T.astype(float) / count
    values = np.linalg.eigvals(kernel).real
    values = values[values > 1e-12]
    assert vendi_score(vectors) == pytest.approx(np.exp(-np.sum(values * np.log(values))), rel=1e-4)
    assert vendi_score(vectors) <= min(count, width) + 1e-4
    assert vendi_score(vectors[::-1]) == pytest.approx(vendi_score(vectors), rel=1e-5)


def test_it_counts_rows_that_have_nothing_in_common() -> None:
    axes = np.eye(5, dtype=np.float32)
    assert vendi_score(axes) == 5
    assert vendi_score(np.repeat(axes, 3, axis=0)) == 5
    assert vendi_score(axes[[0, 0, 0]]) == 1
    # Half of one kind, a quarter each of two others: the exponential of their entropy.
    assert vendi_score(axes[[0, 0, 1, 2]]) == pytest.approx(2**1.5, rel=1e-5)
