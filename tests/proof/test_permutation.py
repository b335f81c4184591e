"""The exact test of an order: against all orders one by one, and what few things can show."""

import itertools

import numpy as np
import pytest
import scipy
from hypothesis import given
from hypothesis import strategies as st

from curate.proof.permutation import least_correlation, permutation_test, rank_correlation

VALUES = st.lists(st.integers(0, 4), min_size=2, max_size=5)


@given(VALUES)
def test_p_is_the_share_of_all_orders_that_correlate_as_much(values: list[int]) -> None:
    if len(set(values)) == 1:
        assert permutation_test(values).correlation == 0
        assert permutation_test(values).p == 1
        return
    places = range(len(values))
    orders = [
        float(scipy.stats.spearmanr(places, order).statistic)
        for order in itertools.permutations(values)
    ]
    test = permutation_test(values)
    assert test.correlation == pytest.approx(orders[0])
    assert test.orders == len(orders)
    as_far = sum(abs(one) >= abs(orders[0]) - 1e-9 for one in orders)
    assert test.p == pytest.approx(as_far / len(orders))


def test_ten_values_take_no_list_of_their_orders() -> None:
    rising = permutation_test([float(i) for i in range(10)])
    assert rising.correlation == 1
    assert rising.p == pytest.approx(2 / 3_628_800)


@pytest.mark.parametrize(
    ("count", "least"), [(3, None), (4, None), (5, 1.0), (6, 0.886), (10, 0.648)]
)
def test_few_things_show_only_a_strong_order(count: int, least: float | None) -> None:
    """The critical values of Spearman's correlation at 5 %, as in any table of them."""
    assert least_correlation(count, 0.05) == (
        None if least is None else pytest.approx(least, abs=1e-3)
    )


@given(st.integers(0, 99))
def test_only_the_order_of_values_counts(seed: int) -> None:
    values = np.random.default_rng(seed).normal(size=6)
    assert rank_correlation(list(values)) == rank_correlation(list(np.exp(values)))
    assert rank_correlation(list(values)) == pytest.approx(-rank_correlation(list(-values)))
