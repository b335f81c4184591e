"""Greedy coverage against plain and exhaustive search, the reset rule, a start that covers already."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from curate.text.setcover import cover
from tests.text.plaincover import Matrix, plain_cover

# Few distinct values, so that ties, resets and equal rows are common.
PARTS = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(
        np.float32, shape, elements=st.sampled_from([-0.5, 0.0, 0.25, 0.5, 0.75, 1])
    )
)
POSITIVE = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
)


def value(parts: Matrix, chosen: list[int]) -> float:
    return float(parts[chosen].max(axis=0).sum(dtype=np.float64)) if chosen else 0.0


@given(PARTS)
def test_the_order_is_that_of_the_plain_loop(parts: Matrix) -> None:
    assert cover(parts).tolist() == plain_cover(parts)


def test_a_covered_example_is_covered_anew() -> None:
    """Row 0 covers one token, row 2 the other; row 1 adds nothing then, and opens a second layer."""
    parts = np.array([[0.9, 0.1], [0.8, 0.0], [0.0, 0.6]], dtype=np.float32)
    assert cover(parts).tolist() == [0, 2, 1]
    # By its own recall row 1 comes second, but what it covers is covered.
    assert np.argsort(-parts.sum(axis=1)).tolist() == [0, 1, 2]
    # In the second layer the rest is ordered as if nothing were covered.
    again = np.array([[1, 1], [0.2, 0.9], [0.9, 0.1], [0.1, 0.3]], dtype=np.float32)
    assert cover(again).tolist() == [0, 1, 2, 3]


@given(POSITIVE)
def test_the_first_row_is_the_one_of_largest_bsr(parts: Matrix) -> None:
    assert parts[cover(parts)[0]].sum() == pytest.approx(parts.sum(axis=1).max(), abs=1e-5)


@given(POSITIVE, st.integers(1, 4))
def test_greedy_is_near_the_best_set(parts: Matrix, size: int) -> None:
    order = cover(parts).tolist()[:size]
    sets = itertools.combinations(range(len(parts)), min(size, len(parts)))
    best = max(value(parts, list(some)) for some in sets)
    assert value(parts, order) >= (1 - 1 / math.e) * best - 1e-4


@given(POSITIVE)
def test_more_rows_never_cover_less_and_every_row_is_named_once(parts: Matrix) -> None:
    order = cover(parts).tolist()
    assert sorted(order) == list(range(len(parts)))
    values = [value(parts, order[:n]) for n in range(len(order) + 1)]
    assert values == sorted(values)
    rises = np.diff(values)
    first = next((n for n, rise in enumerate(rises) if rise <= 1e-5), len(rises))
    assert all(a >= b - 1e-4 for a, b in itertools.pairwise(rises[:first]))


def test_copies_of_a_row_do_not_come_together() -> None:
    parts = np.array([[0.9, 0.2], [0.9, 0.2], [0.9, 0.2], [0.1, 0.8]], dtype=np.float32)
    noise = np.random.default_rng(0).uniform(-1e-6, 1e-6, parts.shape).astype(np.float32)
    assert 3 in cover(parts + noise)[:2]
    assert cover(parts).tolist() == [0, 3, 1, 2]


def test_an_example_without_tokens_takes_rows_in_their_order() -> None:
    assert cover(np.zeros((3, 0), dtype=np.float32)).tolist() == [0, 1, 2]


@given(POSITIVE, st.integers(0, 7))
def test_what_is_chosen_already_covers_first(parts: Matrix, first: int) -> None:
    """The first layer goes on as if the row had been chosen; without rows there is no order."""
    first %= len(parts)
    others = np.delete(parts, first, axis=0)
    order = cover(others, parts[first]).tolist()
    assert sorted(order) == list(range(len(others)))
    rises = np.maximum(others - parts[first], 0).sum(axis=1)
    if len(others) and rises.max() > 1e-4:
        assert rises[order[0]] == pytest.approx(rises.max(), abs=1e-4)
    elif len(others) and rises.max() == 0:
        assert order == cover(others).tolist()
