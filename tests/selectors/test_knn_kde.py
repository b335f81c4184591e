"""KNN-KDE: the sweep of the paper with a heap, one row at a time, and masses that sum to 1."""

from __future__ import annotations

from heapq import heapify, heappop, heappush

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.selectors.knn_kde import nearest_dense, transport_mass

Matrix = NDArray[np.float64]


def swept(similar: Matrix, density: Matrix, worth: float) -> Matrix:
    """Return the masses by a heap of (s, k, example), as TSDS takes them."""
    rows, examples = similar.shape
    order = [sorted(range(rows), key=lambda i: (-similar[i, q], i)) for q in range(examples)]
    distance = [[1 - similar[i, q] for i in order[q]] for q in range(examples)]
    weight = [[1 / density[i] for i in order[q]] for q in range(examples)]
    heap = [(weight[q][0], 0, q) for q in range(examples)]
    heapify(heap)
    taken, cost = [0] * examples, [0.0] * examples
    while True:
        s, k, q = heappop(heap)
        spread = sum(w * d for w, d in zip(weight[q][: k + 1], distance[q], strict=False))
        cost[q] = s * distance[q][k + 1] - spread
        if sum(cost) >= worth or k + 2 == rows:
            break
        taken[q] = k + 1
        heappush(heap, (s + weight[q][k + 1], k + 1, q))
    mass = np.zeros(rows)
    for q in range(examples):
        own = [w / s / examples for w in weight[q][: taken[q]]]
        for k, share in enumerate(own):
            mass[order[q][k]] += share
        mass[order[q][taken[q]]] += 1 / examples - sum(own)
    return mass


@given(
    seed=st.integers(0, 10_000),
    rows=st.integers(2, 12),
    examples=st.integers(1, 4),
    worth=st.sampled_from([0.0, 0.01, 0.3, 2.0, 99.0]),
)
def test_masses_are_those_of_the_heap(seed: int, rows: int, examples: int, worth: float) -> None:
    rng = np.random.default_rng(seed)
    similar, density = rng.uniform(-1, 1, (rows, examples)), rng.uniform(1, 5, rows)
    mass = transport_mass(similar, density, worth)
    np.testing.assert_allclose(mass, swept(similar, density, worth), atol=1e-9)
    assert mass.sum() == pytest.approx(1)


def test_the_worked_example() -> None:
    similar, density = np.array([[0.9], [0.8], [0.1]]), np.array([2.0, 2.0, 1.0])
    assert transport_mass(similar, density, 99).tolist() == pytest.approx([0.5, 0.5, 0])


def test_a_cloud_of_copies_has_the_mass_of_one_row() -> None:
    similar = np.array([[0.9]] * 4 + [[0.8], [0.7], [0.6]])
    mass = transport_mass(similar, np.array([4.0] * 4 + [1, 1, 1]), 99)
    assert mass[:4].sum() == pytest.approx(mass[4])


def test_neighbours_end_before_the_first_without_a_density() -> None:
    """The first example has rows 0, 1 and 2 before one that has none, the second rows 3 and 0."""
    similar = np.array([[0.9, 0.5], [0.8, 0.2], [0.7, 0.1], [0.3, 0.9], [0.4, 0.4]])
    density = np.array([1.0, 1, 1, 1, np.nan])
    assert nearest_dense(similar, density).tolist() == [[0, 1], [3, 0]]
    assert nearest_dense(similar, np.ones(5)).shape == (2, 5)


def test_an_example_with_one_row_gives_it_all() -> None:
    similar, density = np.array([[0.9], [0.8]]), np.array([3.0, np.nan])
    assert transport_mass(similar, density, 99).tolist() == [1.0, 0.0]
