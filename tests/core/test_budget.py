"""Budgets: rows exactly, fractions to the nearest row, tokens from below, passing over what is long."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.budget import SLACK, BudgetLimit, BudgetOutcome, Cap, limit_of, spend
from curate.core.selectparams import Budget

Tokens = NDArray[np.int64]
TOKENS = st.lists(st.integers(1, 500), min_size=1, max_size=60).map(
    lambda counts: np.array(counts, dtype=np.int64)
)


def selected_rows(budget: Budget, tokens: Tokens) -> list[int]:
    cost = np.ones_like(tokens) if budget.tokens is None else tokens
    outcomes = spend(cost, limit_of(budget, len(tokens)))
    return np.flatnonzero(outcomes == BudgetOutcome.TAKEN).tolist()


def heavy_tailed(seed: int, count: int) -> Tokens:
    """Return lengths of which a few hold most of the tokens."""
    rng = np.random.default_rng(seed)
    lengths = (rng.pareto(1.1, count) + 1) * 12 if seed % 2 else rng.lognormal(3.5, 1.5, count)
    return np.maximum(lengths, 3).astype(np.int64)


@given(TOKENS, st.integers(1, 100))
def test_rows_are_met_exactly_as_far_as_there_are_that_many(tokens: Tokens, rows: int) -> None:
    assert selected_rows(Budget(rows=rows), tokens) == list(range(min(rows, len(tokens))))


@given(TOKENS, st.integers(1, 20_000))
def test_tokens_are_never_above_the_budget_and_no_better_row_fitted(
    tokens: Tokens, budget: int
) -> None:
    taken = selected_rows(Budget(tokens=budget), tokens)
    left, expected = budget, []
    for row, price in enumerate(tokens.tolist()):
        if price <= left:
            expected.append(row)
            left -= price
        elif left <= SLACK * budget:
            break
    assert taken == expected
    assert tokens[taken].sum() <= budget


@given(st.integers(0, 10_000), st.integers(60, 400), st.floats(0.05, 0.9))
def test_a_budget_is_met_within_two_per_cent_in_heavy_tailed_pools(
    seed: int, count: int, share: float
) -> None:
    tokens = heavy_tailed(seed, count)
    budget = int(share * tokens.sum())
    spent = tokens[selected_rows(Budget(tokens=budget), tokens)].sum()
    left = np.delete(tokens, selected_rows(Budget(tokens=budget), tokens))
    assert spent <= budget
    # Else there is no row that is as short as what is left.
    assert budget - spent <= 0.02 * budget or left.min() > budget - spent


@given(TOKENS, st.floats(0, 1, exclude_min=True))
def test_a_fraction_is_within_half_a_row(tokens: Tokens, fraction: float) -> None:
    count = len(selected_rows(Budget(fraction=fraction), tokens))
    assert 1 <= count <= len(tokens)
    assert abs(count - fraction * len(tokens)) <= 0.5 or count == 1
    assert len(selected_rows(Budget(fraction=1.0), tokens)) == len(tokens)


@pytest.mark.parametrize(
    ("budget", "taken"),
    [
        (9, []), (29, [0]), (30, [0, 1]), (69, [0, 1, 3]), (75, [0, 1, 2]), (76, [0, 1, 2]),
        (113, [0, 1, 2]), (114, [0, 1, 2, 3]),
    ],
)  # fmt: skip
def test_a_token_budget_by_hand(budget: int, taken: list[int]) -> None:
    assert selected_rows(Budget(tokens=budget), np.array([10, 20, 45, 39])) == taken


def test_a_first_row_over_the_budget_is_passed_over_too() -> None:
    outcomes = spend(np.array([11_426, 176, 810, 30, 20, 4]), limit_of(Budget(tokens=1_000), 6))
    taken, passed, beyond = BudgetOutcome.TAKEN, BudgetOutcome.PASSED_OVER, BudgetOutcome.BEYOND
    assert outcomes.tolist() == [passed, taken, taken, beyond, beyond, beyond]
    assert selected_rows(Budget(tokens=5), np.array([10, 1])) == [1]
    assert selected_rows(Budget(tokens=5), np.array([10, 6])) == []


@given(st.integers(0, 500), st.integers(0, 1_000), st.floats(0.1, 1.0))
def test_no_group_gets_more_than_its_cap_and_a_long_row_does_not_end_a_group(
    seed: int, total: int, most: float
) -> None:
    tokens = heavy_tailed(seed, 50)
    group = np.random.default_rng(seed).integers(0, 3, 50)
    outcomes = spend(tokens, BudgetLimit(total), [Cap(group, np.full(3, most * total))])
    taken = outcomes == BudgetOutcome.TAKEN
    spent = np.bincount(group[taken], tokens[taken], minlength=3)
    assert spent.max() <= most * total + 1e-6
    for row in np.flatnonzero(outcomes == BudgetOutcome.OVER_CAP):
        before = taken & (group == group[row]) & (np.arange(50) < row)
        assert tokens[before].sum() + tokens[row] > most * total


def test_a_row_takes_a_byte_and_no_number_of_its_own() -> None:
    """Numbers of Python for all rows of a pool, costs and groups, took 90 bytes a row."""
    count = 100_000
    cost = np.full(count, 1_000)
    cap = Cap(np.arange(count) % 7 + 1_000, np.full(1_007, np.inf))
    tracemalloc.start()
    outcomes = spend(cost, BudgetLimit(1_000 * count), [cap])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcomes == BudgetOutcome.TAKEN).all()
    assert peak < 10 * count
