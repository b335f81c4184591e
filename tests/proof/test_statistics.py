"""The verdict: a random set is called better or worse as rarely as said, and nothing else moves it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.stats import nct, t

from curate.proof.statistics import (
    ALPHA,
    STRICT_ALPHA,
    WITHIN,
    Comparison,
    Verdict,
    compare,
    judge,
    judge_all,
    measure_spread,
    prediction_factor,
    rank_among,
)

Matrix = NDArray[np.float64]
# Measured on random draws of the quickstart: sds of set, training, example, and set by example.
SET, TRAINING, EXAMPLE, NOISE = 0.117, 0.114, 1.0, 0.059
EXAMPLES = 60


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def gains_of(
    random: np.random.Generator, sets: Matrix, trainings: int = 1, training: float = TRAINING
) -> Matrix:
    """Return gains [sets * trainings, EXAMPLES] of sets that help by so much each, on one eval set."""
    helps = np.repeat(sets, trainings) + training * random.normal(size=len(sets) * trainings)
    return helps[:, None] + NOISE * random.normal(size=(len(helps), EXAMPLES))


def false_calls(
    draws: int,
    *,
    runs: int = 2_000,
    trainings: int = 1,
    alpha: float = ALPHA,
    skewed: bool = False,
    judged: int = 1,
    both: bool = False,
) -> float:
    """Return how often random sets that are passed off as selections are called better or worse."""
    random, called = rng(draws), 0
    for _ in range(runs):
        count = draws + judged
        unit = (
            (random.gamma(2, size=count) - 2) / math.sqrt(2)
            if skewed
            else random.normal(size=count)
        )
        controls = gains_of(random, SET * unit[judged:])
        pairs = 0.05 * random.normal(size=(min(3, draws), 1)) + np.zeros((1, EXAMPLES))
        verdicts = []
        for number in range(judged):
            selected = gains_of(random, SET * unit[number : number + 1], trainings)
            level = alpha / judged
            against = [compare(selected, controls, alpha=level)]
            if both:
                against.append(compare(selected, controls, alpha=level, shift=pairs))
            verdicts.append(judge_all([c.verdict for c in against]))
        called += any(verdict != WITHIN for verdict in verdicts)
    return called / runs


@pytest.mark.parametrize("draws", [3, 9, 19])
def test_a_random_set_is_called_better_or_worse_in_one_of_twenty_runs(draws: int) -> None:
    assert 0.035 <= false_calls(draws) <= 0.06


def test_a_mean_of_several_trainings_makes_the_rule_stricter() -> None:
    assert false_calls(9, trainings=3) <= 0.05


def test_a_claim_against_both_controls_is_called_no_more_often() -> None:
    assert false_calls(9, both=True) <= 0.06


def test_the_strict_level_holds_for_skewed_draws() -> None:
    assert false_calls(9, alpha=STRICT_ALPHA, skewed=True) <= 0.06


@pytest.mark.system
def test_of_several_random_methods_together_any_is_called_in_one_of_twenty_runs() -> None:
    assert false_calls(9, judged=5) <= 0.06
    apart = 1 - (1 - false_calls(9, runs=400)) ** 5
    assert apart > 0.1, "judged apart, five would be called too often"


def test_the_interval_of_a_mean_would_call_random_sets_far_too_often() -> None:
    """Why the estimate has no verdict: it is found out the more often, the more draws there are."""
    calls = []
    for draws in (3, 9):
        random, hits = rng(1), 0
        for _ in range(500):
            helps = SET * random.normal(size=draws + 1)
            result = compare(gains_of(random, helps[:1]), gains_of(random, helps[1:]), alpha=ALPHA)
            hits += not result.low <= 0 <= result.high
        calls.append(hits / 500)
    assert 0.08 < calls[0] < calls[1]
    assert calls[1] > 0.25


def test_a_real_effect_is_shown_as_often_as_power_says() -> None:
    """A fixed set three spreads above the mean, against nine draws: the noncentral t's 82 %."""
    draws, sigma, effect = 9, 0.1, 0.3
    bound = t.ppf(1 - ALPHA / 2, draws - 1) * math.sqrt(draws + 1)
    power = 1 - nct.cdf(bound, draws - 1, math.sqrt(draws) * effect / sigma)
    random, calls = rng(4), 0
    for _ in range(1_000):
        controls = gains_of(random, sigma * random.normal(size=draws), training=0.0)
        selected = gains_of(random, np.array([effect]), training=0.0)
        calls += compare(selected, controls, alpha=ALPHA).verdict == "better"
    assert calls / 1_000 == pytest.approx(power, abs=0.05)


@pytest.mark.parametrize(
    ("draws", "factor"), [(3, 4.97), (5, 3.04), (7, 2.62), (9, 2.43), (19, 2.16), (39, 2.05)]
)
def test_factors_are_those_of_the_t_prediction_interval(draws: int, factor: float) -> None:
    assert prediction_factor(draws, ALPHA) == pytest.approx(factor, abs=0.006)


def by_hand(selected: Matrix, draws: Matrix) -> tuple[float, float]:
    means = draws.mean(axis=1)
    factor = t.ppf(0.975, len(draws) - 1) * math.sqrt(1 + 1 / len(draws))
    return selected.mean() - means.mean(), factor * means.std(ddof=1)


@given(st.integers(0, 50), st.integers(2, 12), st.floats(-3, 3), st.floats(0.1, 10))
def test_shifting_all_losses_changes_nothing_and_scaling_them_scales(
    seed: int, count: int, moved: float, scale: float
) -> None:
    random = rng(seed)
    draws, selected = gains_of(random, random.normal(size=count)), gains_of(random, np.zeros(1), 3)
    result = compare(selected, draws, alpha=ALPHA)
    assert (result.difference, result.half) == pytest.approx(by_hand(selected, draws))
    again = compare(scale * (selected + moved), scale * (draws + moved), alpha=ALPHA)
    assert again.verdict == result.verdict
    figures = (result.difference, result.half, result.low, result.high)
    scaled = (again.difference, again.half, again.low, again.high)
    assert scaled == pytest.approx([scale * figure for figure in figures], abs=1e-9)


@given(st.integers(0, 50), st.integers(2, 9))
def test_turning_the_sign_turns_the_verdict_and_the_order_of_draws_is_no_matter(
    seed: int, count: int
) -> None:
    random = rng(seed)
    draws = gains_of(random, random.normal(size=count))
    selected = gains_of(random, 5 * random.normal(size=1))
    result, turned = (compare(s * selected, s * draws, alpha=ALPHA) for s in (1, -1))
    opposite = {"better": "worse", "worse": "better"}
    assert turned.verdict == opposite.get(result.verdict, result.verdict)
    assert (turned.difference, turned.half) == pytest.approx((-result.difference, result.half))
    mixed = compare(selected, random.permutation(draws), alpha=ALPHA)
    assert (mixed.difference, mixed.half) == pytest.approx((result.difference, result.half))


def test_equal_losses_are_within_the_range() -> None:
    result = compare(np.ones((3, 5)), np.ones((9, 5)), alpha=ALPHA)
    assert result == Comparison(0.0, 0.0, 0.0, 0.0, WITHIN)
    assert compare(np.full((3, 5), 0.1 + 0.2), np.full((9, 5), 0.3), alpha=ALPHA).verdict == WITHIN


def test_draws_that_all_score_the_same_differ_by_one_step_of_the_metric() -> None:
    """One more exact match than nine draws without any is no proof of a better set."""
    none, one, many = np.zeros((9, 20)), np.zeros((3, 20)), np.zeros((3, 20))
    one[:, :1], many[:, :8] = 1, 1
    assert compare(one, none, alpha=ALPHA, step=1 / 20).verdict == WITHIN
    assert compare(many, none, alpha=ALPHA, step=1 / 20).verdict == "better"


def test_nothing_is_better_or_worse_than_draws_that_tie_where_the_metric_has_no_step() -> None:
    tied = np.zeros((9, 20))
    for selected in (np.full((3, 20), 0.001), np.full((3, 20), -5.0)):
        assert compare(selected, tied, alpha=ALPHA).verdict == WITHIN


def test_two_draws_are_enough_for_a_verdict_and_show_little() -> None:
    draws = np.array([[0.0, 0.0], [0.1, 0.1]])
    assert compare(np.full((1, 2), 1.0), draws, alpha=ALPHA).verdict == WITHIN
    assert compare(np.full((1, 2), 2.0), draws, alpha=ALPHA).verdict == "better"


def test_few_pairs_move_all_draws_to_the_other_size() -> None:
    """Where pairs differ by the same, that is the comparison with draws of the other size."""
    random = rng(3)
    draws, selected = gains_of(random, random.normal(size=9)), gains_of(random, np.ones(1), 3)
    shift = np.full((3, EXAMPLES), 0.25)
    result = compare(selected, draws, alpha=ALPHA, shift=shift)
    direct = compare(selected, draws + 0.25, alpha=ALPHA)
    assert (result.difference, result.half) == pytest.approx((direct.difference, direct.half))
    unsure = compare(selected, draws, alpha=ALPHA, shift=shift + np.array([[-0.4], [0.0], [0.4]]))
    assert unsure.half > direct.half
    assert unsure.difference == pytest.approx(direct.difference)


def test_the_estimate_is_narrower_than_the_range_and_narrows_with_draws() -> None:
    random = rng(5)
    few, many = (gains_of(random, SET * random.normal(size=n)) for n in (9, 39))
    selected = gains_of(random, np.ones(1), 3)
    near, nearer = (compare(selected, draws, alpha=ALPHA) for draws in (few, many))
    assert near.high - near.low < 2 * near.half
    assert nearer.high - nearer.low < near.high - near.low


def test_the_interval_of_a_spread_holds_the_true_one_95_times_in_100() -> None:
    random, hits = rng(6), 0
    for _ in range(1_000):
        spread = measure_spread(random.normal(3, 0.5, size=9).tolist())
        hits += spread.low <= 0.5 <= spread.high
    assert 0.93 <= hits / 1_000 <= 0.97
    assert measure_spread([2.0, 2.0]).high == 0


@pytest.mark.parametrize(
    ("selected", "place", "p"),
    [(4.5, 1, 0.4), (3.5, 2, 0.8), (2.5, 3, 1.0), (0.5, 5, 0.4), (4.0, 1, 0.8)],
)
def test_the_rank_has_its_exact_p(selected: float, place: int, p: float) -> None:
    rank = rank_among(selected, [1.0, 2.0, 3.0, 4.0])
    assert (rank.place, rank.of) == (place, 5)
    assert rank.p == pytest.approx(p)


def test_thirty_nine_draws_can_come_to_five_per_cent_by_rank_alone() -> None:
    assert rank_among(40, list(range(39))).p == pytest.approx(0.05)
    assert rank_among(40, list(range(38))).p > 0.05


@pytest.mark.parametrize(
    ("difference", "verdict"),
    [(0.21, "better"), (0.2, WITHIN), (0.0, WITHIN), (-0.2, WITHIN), (-0.21, "worse")],
)
def test_only_what_random_draws_hardly_reach_is_a_difference(
    difference: float, verdict: str
) -> None:
    assert judge(difference, 0.2) == verdict


@pytest.mark.parametrize(
    ("verdicts", "together"),
    [
        (["better", "better"], "better"),
        (["worse", "worse"], "worse"),
        (["better", "worse"], WITHIN),
        (["better", WITHIN], WITHIN),
        ([WITHIN, "better"], WITHIN),
    ],
)
def test_a_claim_has_to_hold_against_every_control(
    verdicts: list[Verdict], together: Verdict
) -> None:
    assert judge_all(verdicts) == together


def test_a_weighted_mean_has_the_error_of_a_ratio() -> None:
    """Gains that are equal to a whole but for their weights say nothing of other examples."""
    rng = np.random.default_rng(5)
    counts = rng.integers(1, 200, 60).astype(float)
    weights, by_example = counts / counts.mean(), rng.normal(0.5, 0.2, 60)
    draws = np.zeros((4, 60)) + np.array([[-0.1], [0.1], [-0.1], [0.1]])
    plain, weighted = (
        compare(weights * by_example + np.zeros((1, 60)), draws, alpha=0.05, weights=w)
        for w in (None, weights)
    )
    ratio = (counts * by_example).sum() / counts.sum()
    assert plain.difference == weighted.difference == pytest.approx(ratio)
    assert plain.half == weighted.half
    error = math.sqrt(((counts * (by_example - ratio)) ** 2).sum() / 59 / 60) / counts.mean()
    between = draws.mean(axis=1).var(ddof=1) / 4
    reach = t.ppf(0.975, 3) * math.sqrt(error**2 + between)
    assert weighted.high - ratio == pytest.approx(reach)
    assert plain.high > weighted.high
