"""Budgets: rows exactly, tokens from below within one row, fractions to the nearest row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.registry import Budget
from curate.select.budget import rows_within

TOKENS = st.lists(st.integers(1, 500), min_size=1, max_size=60).map(
    lambda counts: np.array(counts, dtype=np.int64)
)


@given(TOKENS, st.integers(1, 100))
def test_rows_are_met_exactly_as_far_as_there_are_that_many(
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]], rows: int
) -> None:
    assert rows_within(Budget(rows=rows), tokens) == min(rows, len(tokens))


@given(TOKENS, st.integers(1, 20_000))
def test_tokens_are_met_from_below_within_one_row(
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]], budget: int
) -> None:
    count = rows_within(Budget(tokens=budget), tokens)
    assert 1 <= count <= len(tokens)
    assert tokens[:count].sum() <= budget or count == 1
    if count < len(tokens):
        assert tokens[: count + 1].sum() > budget


@given(TOKENS, st.floats(0, 1, exclude_min=True))
def test_a_fraction_is_within_half_a_row(
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]], fraction: float
) -> None:
    count = rows_within(Budget(fraction=fraction), tokens)
    assert 1 <= count <= len(tokens)
    assert abs(count - fraction * len(tokens)) <= 0.5 or count == 1
    assert rows_within(Budget(fraction=1.0), tokens) == len(tokens)


@pytest.mark.parametrize(
    ("budget", "count"), [(29, 1), (30, 2), (59, 2), (60, 3), (99, 3), (100, 4), (5_000, 4)]
)
def test_a_token_budget_by_hand(budget: int, count: int) -> None:
    assert rows_within(Budget(tokens=budget), np.array([10, 20, 30, 40])) == count


def test_a_first_row_over_the_budget_is_taken_all_the_same() -> None:
    assert rows_within(Budget(tokens=5), np.array([10, 1])) == 1


@given(TOKENS, st.integers(1, 5_000), st.integers(0, 5_000))
def test_a_larger_budget_never_buys_less(
    tokens: np.ndarray[tuple[int], np.dtype[np.int64]], budget: int, more: int
) -> None:
    small, large = Budget(tokens=budget), Budget(tokens=budget + more)
    assert rows_within(small, tokens) <= rows_within(large, tokens)
