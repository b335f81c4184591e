"""Turns: every number of first rows holds the groups in their shares, to within one row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.selectors.turns import interleave, weighted_round_robin

GROUPS = st.lists(
    st.tuples(st.integers(0, 30), st.sampled_from([0.0, 0.001, 0.3, 1.0, 1.0, 2.0, 7.5, 100.0])),
    min_size=1,
    max_size=25,
)


def output_by_halving(
    sizes: NDArray[np.int64], weights: NDArray[np.float64], total: int
) -> NDArray[np.float64]:
    """Return each group's output when `total` is out, by halving the time."""
    low, high = 0.0, float((sizes / weights).max())
    for _ in range(80):
        middle = (low + high) / 2
        if np.minimum(sizes, weights * middle).sum() < total:
            low = middle
        else:
            high = middle
    return np.minimum(sizes, weights * high)


def counts_by_turn(turns: NDArray[np.int64], groups: int) -> NDArray[np.int64]:
    """Return how many rows of each group are out after each turn [N, G]."""
    return np.cumsum(np.eye(groups, dtype=np.int64)[turns], axis=0)


def test_the_example_of_the_module() -> None:
    turns = weighted_round_robin(np.array([5, 5, 2]), np.array([2.0, 1.0, 1.0]))
    assert turns.tolist() == [0, 1, 0, 2, 0, 1, 0, 2, 0, 1, 1, 1]


@given(GROUPS)
def test_no_prefix_is_a_whole_row_away_from_the_shares(groups: list[tuple[int, float]]) -> None:
    sizes = np.array([size for size, _ in groups])
    weights = np.array([weight for _, weight in groups])
    turns = weighted_round_robin(sizes, weights)
    assert np.bincount(turns, minlength=len(groups)).tolist() == sizes.tolist()
    some = (weights > 0) & (sizes > 0)
    counts = counts_by_turn(turns, len(groups))
    for n in range(1, int(sizes[some].sum()) + 1):
        shares = output_by_halving(sizes[some], weights[some], n)
        assert abs(counts[n - 1][some] - shares).max() < 1
        assert counts[n - 1][~some].sum() == 0, "weight 0 comes last"


def test_many_small_groups_are_spread_among_a_large_one() -> None:
    """Fifty groups with 1 % each and one with half: the first hundred turns alternate."""
    sizes, weights = np.array([500, *[10] * 50]), np.array([50.0, *[1.0] * 50])
    counts = counts_by_turn(weighted_round_robin(sizes, weights), 51)
    for n in range(1, 1_001):
        assert abs(counts[n - 1][0] - n / 2) < 1
    assert (counts[99][1:] == 1).all()


def test_an_emptied_group_leaves_its_turns_to_the_others_by_weight() -> None:
    counts = counts_by_turn(
        weighted_round_robin(np.array([2, 300, 300]), np.array([8.0, 2.0, 1.0])), 3
    )
    assert counts[2].tolist() == [2, 1, 0]
    assert abs(counts[301] - [2, 200, 100]).max() <= 1


def test_groups_of_weight_0_share_what_comes_last_by_size() -> None:
    turns = weighted_round_robin(np.array([6, 2, 3]), np.array([0.0, 1.0, 0.0]))
    assert turns[:2].tolist() == [1, 1]
    assert np.bincount(turns[2:5], minlength=3).tolist() == [2, 0, 1]


@pytest.mark.parametrize(("sizes", "turns"), [([3], [0, 0, 0]), ([0, 2], [1, 1]), ([0], [])])
def test_few_groups(sizes: list[int], turns: list[int]) -> None:
    assert weighted_round_robin(np.array(sizes), np.ones(len(sizes))).tolist() == turns


def test_equal_groups_go_round_in_their_order() -> None:
    assert weighted_round_robin(np.array([2, 3, 2]), np.ones(3)).tolist() == [0, 1, 2, 0, 1, 2, 1]


def test_members_take_the_turns_of_their_group_in_their_order() -> None:
    assert interleave(np.array([1, 0, 1, 0, 1]), np.array([70, 71, 40, 41, 42])).tolist() == [
        40, 70, 41, 71, 42,
    ]  # fmt: skip
