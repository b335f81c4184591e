"""Logistic and isotonic fits against other solvers; no probability knows its own label."""

from __future__ import annotations

from itertools import pairwise, product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

from curate.judge.calibration import (
    FARTHEST,
    cross_fit,
    deal_folds,
    fit_isotonic,
    fit_logistic,
    pool_neighbours,
    sigmoid,
    standardise,
)
from tests.conftest import examples


def sample(rows: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(rows, 3))
    chances = sigmoid(features @ [1.5, -0.7, 0.0] + 1.0)
    return features, rng.random(rows) < chances


# --- logistic -----------------------------------------------------------------------------------


@pytest.mark.parametrize("penalty", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("rows", [20, 500])
def test_weights_are_those_of_another_solver(rows: int, penalty: float) -> None:
    features, right = sample(rows)

    def loss(weights: np.ndarray) -> float:
        logits = features @ weights[:-1] + weights[-1]
        losses = np.log1p(np.exp(-np.where(right, logits, -logits)))
        return float(losses.sum() + penalty / 2 * (weights[:-1] ** 2).sum())

    solution = minimize(loss, np.zeros(4), method="BFGS", options={"gtol": 1e-9})
    np.testing.assert_allclose(fit_logistic(features, right, penalty), solution.x, atol=2e-4)


def test_separable_rows_and_copies_of_a_column_have_finite_weights() -> None:
    column = np.arange(-10.0, 10.0)
    features = np.stack([column, column, np.zeros(20)], axis=1)
    weights = fit_logistic(features, column >= 0)
    assert np.isfinite(weights).all()
    assert weights[0] == pytest.approx(weights[1])
    assert weights[2] == 0


@pytest.mark.parametrize("right", [True, False])
def test_rows_of_one_kind_leave_half_a_row_of_doubt(right: bool) -> None:
    weights = fit_logistic(np.ones((9, 2)), np.full(9, right))
    assert weights[:2].tolist() == [0, 0]
    assert sigmoid(weights[2:])[0] == pytest.approx(0.95 if right else 0.05)


def test_sigmoid_of_large_numbers_is_0_and_1() -> None:
    with np.errstate(over="raise"):
        assert sigmoid(np.array([-1e4, 0, 1e4])).tolist() == [0, 0.5, 1]


# --- isotonic -----------------------------------------------------------------------------------


def best_blocks(values: list[float], weights: list[float]) -> float:
    """Return the least weighted sum of squares of any non-decreasing blocks of means."""
    count, best = len(values), np.inf
    for cuts in product([False, True], repeat=count - 1):
        edges = [0, *(i + 1 for i, cut in enumerate(cuts) if cut), count]
        means = [np.average(values[a:b], weights=weights[a:b]) for a, b in pairwise(edges)]
        if all(a <= b + 1e-12 for a, b in pairwise(means)):
            fitted = np.repeat(means, np.diff(edges))
            best = min(best, float((np.array(weights) * (fitted - values) ** 2).sum()))
    return float(best)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 3)), min_size=1, max_size=8))
@examples(0.6)
def test_pools_are_the_best_of_all_non_decreasing_ones(pairs: list[tuple[int, int]]) -> None:
    values = [float(v) for v, _ in pairs]
    weights = [float(w) for _, w in pairs]
    pools = pool_neighbours(np.array(values), np.array(weights))
    mass = np.bincount(pools, weights=weights)
    means = np.bincount(pools, weights=np.multiply(values, weights)) / mass
    assert all(a < b for a, b in pairwise(means))
    fitted = means[pools]
    squares = float((np.array(weights) * (fitted - values) ** 2).sum())
    assert squares == pytest.approx(best_blocks(values, weights), abs=1e-9)


def test_an_isotonic_function_rises_between_pools_and_is_flat_outside() -> None:
    scores = np.array([0.1, 0.2, 0.3, 0.4, 0.4, 0.9])
    right = np.array([False, True, False, True, False, True])
    function = fit_isotonic(scores, right)
    # 0.1 is wrong; 0.2, 0.3 and the two at 0.4 are right in half of the cases; 0.9 is right.
    np.testing.assert_allclose(function.at, [0.1, 0.325, 0.9])
    np.testing.assert_allclose(function.value, [0, 0.5, 1])
    np.testing.assert_allclose(function(np.array([0.0, 0.2125, 0.325, 1.0])), [0, 0.25, 0.5, 1])


# --- features -----------------------------------------------------------------------------------


def test_features_have_mean_0_and_deviation_1_and_say_what_is_missing() -> None:
    nan = float("nan")
    signals = np.array([[1.0, nan, 7.0, nan], [3.0, 2.0, 7.0, nan], [5.0, 4.0, 7.0, nan]])
    features = standardise(signals)
    assert features.shape == (3, 5)
    np.testing.assert_allclose(features[:, 0], [-1.2247, 0, 1.2247], atol=1e-4)
    assert features[:, 1].tolist() == [0, -1, 1]
    assert features[:, 2].tolist() == [1, 0, 0], "the second signal is missing in the first row"
    assert not features[:, 3:].any(), "a constant and a signal that no row has say nothing"


def test_a_far_value_does_not_flatten_the_others() -> None:
    features = standardise(np.append(np.arange(1_000.0), 1e9)[:, None])
    assert features.max() == FARTHEST


# --- folds --------------------------------------------------------------------------------------


def test_folds_are_even_and_the_same_in_any_order() -> None:
    ids = [f"pool/a.jsonl:{i}" for i in range(103)]
    folds = deal_folds(ids)
    assert sorted(np.bincount(folds)) == [20, 20, 21, 21, 21]
    assert deal_folds(ids[::-1]).tolist() == folds[::-1].tolist()


@pytest.mark.parametrize("isotonic", [False, True])
def test_no_probability_depends_on_its_own_label(isotonic: bool) -> None:
    features, right = sample(80, seed=3)
    labelled, folds = np.ones(80, dtype=bool), deal_folds([str(i) for i in range(80)])
    chances = cross_fit(features, labelled, right, folds, isotonic=isotonic)
    for row in range(0, 80, 9):
        turned = right.copy()
        turned[row] = not turned[row]
        again = cross_fit(features, labelled, turned, folds, isotonic=isotonic)
        assert again[row] == chances[row]
        assert (again != chances).any(), "it does count for others"


def test_a_model_of_noise_does_not_look_better_than_chance() -> None:
    rng = np.random.default_rng(5)
    features, right = rng.normal(size=(60, 25)), rng.random(60) < 0.5
    labelled, folds = np.ones(60, dtype=bool), deal_folds([str(i) for i in range(60)])
    chances = cross_fit(features, labelled, right, folds, isotonic=False)
    own = sigmoid(np.column_stack([features, np.ones(60)]) @ fit_logistic(features, right))

    def area(scores: Any) -> float:
        return float((scores[right][:, None] > scores[~right]).mean())

    assert area(own) > 0.75
    assert area(chances) < 0.65


def test_rows_without_a_label_get_the_mean_of_the_models() -> None:
    features, right = sample(60, seed=2)
    labelled, folds = np.arange(60) < 40, deal_folds([str(i) for i in range(60)])
    chances = cross_fit(features, labelled, right, folds, isotonic=False)
    expected = []
    for fold in range(5):
        seen = labelled & (folds != fold)
        weights = fit_logistic(features[seen], right[seen])
        expected.append(sigmoid(features[~labelled] @ weights[:-1] + weights[-1]))
    np.testing.assert_allclose(chances[~labelled], np.mean(expected, axis=0))
    turned = np.where(labelled, right, ~right)
    again = cross_fit(features, labelled, turned, folds, isotonic=False)
    np.testing.assert_array_equal(again, chances, "what is unknown is not read")


def test_probabilities_of_a_true_model_are_calibrated_either_way() -> None:
    features, right = sample(4_000, seed=7)
    labelled, folds = np.ones(4_000, dtype=bool), deal_folds([str(i) for i in range(4_000)])
    for isotonic in (False, True):
        chances = cross_fit(features, labelled, right, folds, isotonic=isotonic)
        for part in np.array_split(np.argsort(chances), 5):
            assert chances[part].mean() == pytest.approx(right[part].mean(), abs=0.05)
