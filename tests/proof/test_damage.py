"""Bins, rates and budgets of collateral damage, against sums by hand and what must always hold."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.proof.damage import bin_budgets, bin_names, damage_rates, draw_in_bins, take_turns
from tests.conftest import examples

BINS = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 9), st.integers(0, 9)), min_size=1)


def test_bins_are_thirds_of_the_losses_times_origins_and_rows_without_an_origin_have_their_source() -> (
    None
):
    rows = pl.DataFrame(
        {
            "source": ["old"] * 7,
            "origin": ["verse", "verse", "sums", "sums", None, None, "sums"],
            "loss": [0.1, 0.9, 0.2, 0.5, 0.6, 0.8, None],
        }
    )
    assert bin_names(rows).to_list() == [
        "verse: low loss", "verse: high loss", "sums: low loss", "sums: middle loss",
        "old: middle loss", "old: high loss", None,
    ]  # fmt: skip


def test_a_rate_is_the_posterior_mean_and_that_of_a_bin_without_a_probe_row_its_priors() -> None:
    rates = damage_rates(np.array([0, 9, 9, 199]), np.array([0, 0, 9, 0]))
    assert rates == pytest.approx([0.5, 0.05, 0.95, 0.0025])


def test_a_budget_goes_by_rate_times_rows_and_what_a_bin_lacks_to_the_others() -> None:
    rates, rows = np.array([0.75, 0.25, 0.25]), np.array([100, 100, 200])
    assert bin_budgets(rates, rows, 60).tolist() == [30, 10, 20]
    assert bin_budgets(rates, np.array([10, 100, 200]), 200).tolist() == [10, 63, 127]
    assert bin_budgets(rates, np.array([1, 2, 3]), 40).tolist() == [1, 2, 3]


@examples(1)
@given(bins=BINS, total=st.integers(0, 500))
def test_budgets_add_up_and_none_exceeds_its_rows(
    bins: list[tuple[int, int, int]], total: int
) -> None:
    rows, probed, wrong = (np.array(column) for column in zip(*bins, strict=True))
    rates = damage_rates(np.maximum(probed, wrong), wrong)
    budgets = bin_budgets(rates, rows, total)
    assert budgets.sum() == min(total, rows.sum())
    assert (budgets >= 0).all()
    assert (budgets <= rows).all()


@examples(1)
@given(bins=BINS, total=st.integers(1, 300))
def test_of_two_bins_with_room_the_one_with_more_damage_gives_no_fewer_rows(
    bins: list[tuple[int, int, int]], total: int
) -> None:
    rows, probed, wrong = (np.array(column) for column in zip(*bins, strict=True))
    rates = damage_rates(np.maximum(probed, wrong), wrong)
    budgets, worth = bin_budgets(rates, rows, total), rates * rows
    room = np.flatnonzero(budgets < rows)
    for i in room:
        for j in range(len(rows)):
            if worth[i] > worth[j]:
                assert budgets[i] + 1 >= budgets[j]


def test_a_probe_takes_turns_and_a_draw_keeps_to_the_budgets() -> None:
    bins = pl.Series(["a"] * 20 + ["b"] * 3)
    probe = bins[take_turns(bins, 8, np.random.default_rng(0))]
    assert dict(probe.value_counts().iter_rows()) == {"a": 5, "b": 3}
    drawn = draw_in_bins(bins, {"a": 2, "b": 1}, np.random.default_rng(0))
    assert dict(bins[drawn].value_counts().iter_rows()) == {"a": 2, "b": 1}
    others = [draw_in_bins(bins, {"a": 2}, np.random.default_rng(i)).tolist() for i in range(9)]
    assert len({tuple(one) for one in others}) > 1
