"""AUROC, intervals and calibration: against counts over all pairs, closed forms and resamples."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.judge.measures import auroc, brier, calibration_error, reliability, weighted_share

scored = st.lists(st.tuples(st.integers(0, 6), st.booleans()), min_size=1, max_size=40)


def split(pairs: list[tuple[int, bool]]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([s for s, _ in pairs], dtype=float), np.array([r for _, r in pairs], dtype=bool)


def wins(scores: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return for each right and each wrong row 1 if the right one is higher, 1/2 if they are equal."""
    return np.array(
        [[1.0 if a > b else 0.5 if a == b else 0.0 for b in scores[~right]] for a in scores[right]]
    )


@given(scored)
def test_the_area_is_the_share_of_pairs_won(pairs: list[tuple[int, bool]]) -> None:
    scores, right = split(pairs)
    area = auroc(scores, right)
    if right.all() or not right.any():
        assert area is None
    else:
        assert area is not None
        assert area.value == pytest.approx(wins(scores, right).mean())


@given(scored)
def test_the_interval_is_delongs_by_the_plain_matrix_of_pairs(
    pairs: list[tuple[int, bool]],
) -> None:
    scores, right = split(pairs)
    if right.sum() < 2 or (~right).sum() < 2:
        return
    won = wins(scores, right)
    error = 1.96 * np.sqrt(
        won.mean(axis=1).var(ddof=1) / right.sum() + won.mean(axis=0).var(ddof=1) / (~right).sum()
    )
    area = auroc(scores, right)
    assert area is not None
    assert area.low == pytest.approx(max(won.mean() - error, 0), abs=1e-4)
    assert area.high == pytest.approx(min(won.mean() + error, 1), abs=1e-4)


def test_one_row_of_a_kind_has_no_interval() -> None:
    area = auroc(np.array([1.0, 2.0, 3.0]), np.array([False, True, True]))
    assert area is not None
    assert (area.value, area.low, area.high) == (1.0, None, None)


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    """Two normal distributions a deviation apart have an area of 0.7602."""
    rng = np.random.default_rng(0)
    right = np.arange(120) < 90
    hits = 0
    for _ in range(400):
        area = auroc(rng.normal(size=120) + right, right)
        assert area is not None and area.low is not None and area.high is not None
        hits += area.low <= 0.7602 <= area.high
    assert 0.91 <= hits / 400 <= 0.985


def test_calibration_error_and_brier_score_have_their_closed_forms() -> None:
    chances = np.repeat([0.2, 0.8], 50)
    # 30 % of the lower half are right, 70 % of the upper half.
    right = np.concatenate([np.arange(50) < 15, np.arange(50) < 35])
    table = reliability(chances, right)
    assert table["rows"].to_list() == [50, 50], "equal chances are never parted"
    assert table["confidence"].to_list() == pytest.approx([0.2, 0.8])
    assert table["right"].to_list() == pytest.approx([0.3, 0.7])
    assert calibration_error(table) == pytest.approx(0.1)
    expected = (0.3 * 0.8**2 + 0.7 * 0.2**2) / 2 + (0.7 * 0.2**2 + 0.3 * 0.8**2) / 2
    assert brier(chances, right) == pytest.approx(expected)


def test_bins_have_the_same_mass_and_do_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(1)
    chances = rng.random(1_000) ** 3
    right = rng.random(1_000) < chances
    table = reliability(chances, right)
    assert table["rows"].to_list() == [100] * 10
    assert (table["low"][1:] > table["high"][:-1]).all()
    assert calibration_error(table) < 0.05, "what comes true as often as told is calibrated"
    order = rng.permutation(1_000)
    again = reliability(chances[order], right[order])
    np.testing.assert_allclose(again.to_numpy(), table.to_numpy())


def test_certain_and_wrong_is_an_error_of_one() -> None:
    chances, right = np.ones(7), np.zeros(7, dtype=bool)
    assert calibration_error(reliability(chances, right)) == brier(chances, right) == 1.0


def test_with_equal_weights_the_weighted_area_is_the_plain_one() -> None:
    rng = np.random.default_rng(3)
    right = rng.random(60) < 0.7
    scores = rng.integers(0, 12, 60) + 3.0 * right
    plain, weighted = auroc(scores, right), auroc(scores, right, np.full(60, 2.0))
    assert plain is not None
    assert weighted is not None
    assert weighted.value == pytest.approx(plain.value)
    assert weighted.low == pytest.approx(plain.low, abs=0.01)


def test_a_weight_of_two_is_a_row_that_is_there_twice() -> None:
    scores, right = np.array([0.1, 0.4, 0.4, 0.9]), np.array([False, True, False, True])
    weights = np.array([2.0, 1.0, 1.0, 3.0])
    times = weights.astype(int)
    twice, once = (
        auroc(np.repeat(scores, times), np.repeat(right, times)),
        auroc(scores, right, weights),
    )
    assert once is not None
    assert twice is not None
    assert once.value == pytest.approx(twice.value)
    assert brier(scores, right, weights) == pytest.approx(
        brier(np.repeat(scores, times), np.repeat(right, times))
    )
    table = reliability(scores, right, weights, 1)
    assert table["right"][0] == pytest.approx(4 / 7)
    assert table["weight"][0] == 7
    assert calibration_error(table) == pytest.approx(abs(table["confidence"][0] - 4 / 7))


def test_a_weighted_share_has_the_interval_of_as_many_rows_as_its_weights_are_worth() -> None:
    right = np.array([True] * 8 + [False] * 2)
    share, low, high = weighted_share(right, np.full(10, 5.0))
    # Wilson's interval of 8 of 10.
    assert (share, low, high) == pytest.approx((0.8, 0.4902, 0.9433), abs=1e-4)
    uneven = weighted_share(right, np.array([9.0, *[1.0] * 9]))
    assert uneven[2] - uneven[1] > high - low
