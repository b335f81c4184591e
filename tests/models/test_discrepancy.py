"""The maximum mean discrepancy: a plain sum over pairs, no bias, and what it makes of copies."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.models.discrepancy import maximum_mean_discrepancy, median_distance


def unit_vectors(count: int, seed: int, towards: float = 0.0) -> NDArray[np.float32]:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(count, 8))
    vectors[:, 0] += towards
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors.astype(np.float32)


def summed_over_pairs(one: NDArray[np.float32], other: NDArray[np.float32], width: float) -> float:
    def kernel(x: NDArray[np.float32], y: NDArray[np.float32]) -> float:
        return math.exp(-float(np.sum((x.astype(float) - y) ** 2)) / (2 * width**2))

    within = [
        np.mean([kernel(x, y) for x, y in combinations(sample, 2)]) for sample in (one, other)
    ]
    return float(sum(within) - 2 * np.mean([kernel(x, y) for x in one for y in other]))


@given(st.integers(2, 9), st.integers(2, 9), st.integers(0, 99))
def test_it_is_the_sum_over_pairs(n: int, m: int, seed: int) -> None:
    one, other = unit_vectors(n, seed), unit_vectors(m, seed + 1, towards=1)
    both = np.concatenate([one, other]).astype(float)
    width = float(np.median([np.linalg.norm(x - y) for x, y in combinations(both, 2)]))
    assert median_distance(np.concatenate([one, other])) == pytest.approx(width, abs=1e-5)
    discrepancy = maximum_mean_discrepancy(one, other)
    assert discrepancy == pytest.approx(summed_over_pairs(one, other, width), abs=1e-6)
    assert maximum_mean_discrepancy(other, one) == pytest.approx(discrepancy, abs=1e-12)


def test_samples_of_one_distribution_lie_around_zero_and_others_do_not() -> None:
    same = [
        maximum_mean_discrepancy(unit_vectors(20, 2 * i), unit_vectors(30, 2 * i + 1), 1.0)
        for i in range(200)
    ]
    values = np.array(same, dtype=float)
    assert abs(values.mean()) < 3 * values.std(ddof=1) / math.sqrt(len(values))
    assert (values < 0).any()
    apart = maximum_mean_discrepancy(unit_vectors(20, 1), unit_vectors(30, 2, towards=2), 1.0)
    assert apart is not None
    assert apart > values.max()


def test_large_samples_are_read_in_blocks_to_the_same_sum(monkeypatch: pytest.MonkeyPatch) -> None:
    one, other = unit_vectors(50, 1), unit_vectors(40, 2)
    whole = maximum_mean_discrepancy(one, other)
    monkeypatch.setattr("curate.models.discrepancy.BLOCK_ROWS", 7)
    assert maximum_mean_discrepancy(one, other) == pytest.approx(whole, abs=1e-12)


def test_copies_say_nothing_of_a_scale() -> None:
    vectors = unit_vectors(6, 3)
    copies = np.concatenate([vectors, *([vectors[:1]] * 20)])
    assert median_distance(copies) > 0.5
    alike = np.repeat(vectors[:1], 4, axis=0)
    assert median_distance(alike) == 1
    assert maximum_mean_discrepancy(alike, alike) == pytest.approx(0, abs=1e-12)


def test_one_vector_alone_has_no_other_of_its_sample() -> None:
    assert maximum_mean_discrepancy(unit_vectors(1, 1), unit_vectors(5, 2)) is None
