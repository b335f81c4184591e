"""Intervals: they cover the truth about as often as they say, and signs mean what they say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.prove.statistics import compare, judge, judge_all

Matrix = NDArray[np.float64]


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def additive(
    random: np.random.Generator,
    shape: tuple[int, int],
    mean: float,
    sds: tuple[float, float, float],
) -> Matrix:
    """Return mean + an effect for each seed + one for each example + noise."""
    seeds, examples = shape
    by_seed, by_example, noise = sds
    return (
        mean
        + by_seed * random.normal(size=(seeds, 1))
        + by_example * random.normal(size=(1, examples))
        + noise * random.normal(size=shape)
    )


@pytest.mark.parametrize(
    ("shape", "sds"),
    [((12, 40), (0.5, 2.0, 0.5)), ((12, 40), (1.0, 1.0, 1.0)), ((3, 100), (0.05, 1.0, 0.3))],
    ids=["examples vary", "both vary", "three seeds"],
)
def test_intervals_cover_the_true_difference_about_95_times_in_100(
    shape: tuple[int, int], sds: tuple[float, float, float]
) -> None:
    random, hits = rng(1), 0
    for _ in range(400):
        told = compare(additive(random, shape, 0.3, sds), resamples=400, rng=random)
        hits += told.low <= 0.3 <= told.high
    assert 0.90 <= hits / 400 <= 0.99


def test_a_difference_that_is_not_there_is_rarely_shown() -> None:
    random, shown = rng(2), 0
    for _ in range(300):
        told = compare(additive(random, (3, 60), 0.0, (0.05, 1.0, 0.3)), resamples=400, rng=random)
        shown += told.verdict != "no difference shown"
    assert shown / 300 <= 0.08


def test_the_interval_widens_with_the_spread_between_seeds() -> None:
    """More examples must not hide that training runs differ."""
    base = additive(rng(3), (5, 2_000), 0.2, (0.0, 0.1, 0.1))
    shaken = base + np.array([-0.4, -0.2, 0.0, 0.2, 0.4]).reshape(5, 1)
    calm, wide = (compare(d, resamples=2_000, rng=rng()) for d in (base, shaken))
    assert calm.verdict == "better"
    assert wide.verdict == "no difference shown"
    assert wide.high - wide.low > 5 * (calm.high - calm.low)


def test_few_seeds_show_their_whole_variance() -> None:
    """Redrawing six seeds alone would show five sixths of it: an interval 9 % too narrow."""
    by_seed = np.linspace(-1, 1, 6)
    told = compare(np.repeat(by_seed[:, None], 10, axis=1), resamples=10_000, rng=rng())
    half = 1.96 * by_seed.std(ddof=1) / np.sqrt(6)
    assert (told.high - told.low) / 2 == pytest.approx(half, rel=0.05)


def test_one_seed_gives_the_usual_interval_of_a_mean() -> None:
    values = rng(4).normal(1.0, 2.0, size=(1, 400))
    told = compare(values, resamples=10_000, rng=rng())
    half = 1.96 * values.std() / np.sqrt(400)
    assert told.mean == pytest.approx(values.mean())
    assert told.low == pytest.approx(values.mean() - half, abs=0.15 * half)
    assert told.high == pytest.approx(values.mean() + half, abs=0.15 * half)


def test_equal_differences_give_an_interval_of_width_zero() -> None:
    told = compare(np.full((3, 7), 0.25), resamples=200, rng=rng())
    assert (told.mean, told.low, told.high) == pytest.approx((0.25, 0.25, 0.25))
    assert told.verdict == "better"
    none = compare(np.zeros((3, 7)), resamples=200, rng=rng())
    assert none.verdict == "no difference shown"


@given(st.integers(0, 20), st.floats(-1, 1))
def test_flipping_the_sign_flips_the_verdict(seed: int, mean: float) -> None:
    differences = additive(rng(seed), (3, 20), mean, (0.1, 0.3, 0.1))
    told = compare(differences, resamples=300, rng=rng(seed))
    flipped = compare(-differences, resamples=300, rng=rng(seed))
    assert (flipped.mean, flipped.low, flipped.high) == pytest.approx(
        (-told.mean, -told.high, -told.low)
    )
    opposite = {"better": "worse", "worse": "better"}
    assert flipped.verdict == opposite.get(told.verdict, told.verdict)


def test_the_order_of_seeds_and_examples_hardly_moves_an_interval() -> None:
    differences = additive(rng(5), (4, 50), 0.1, (0.1, 0.3, 0.1))
    told = compare(differences, resamples=10_000, rng=rng())
    mixed = compare(differences[::-1, rng(6).permutation(50)], resamples=10_000, rng=rng())
    assert mixed.mean == pytest.approx(told.mean)
    width = told.high - told.low
    assert abs(mixed.low - told.low) < 0.08 * width
    assert abs(mixed.high - told.high) < 0.08 * width


@pytest.mark.parametrize("resamples", [100, 1_000, 2_500])
def test_the_same_generator_gives_the_same_interval(resamples: int) -> None:
    differences = additive(rng(7), (3, 30), 0.1, (0.1, 0.3, 0.1))
    told = [compare(differences, resamples=resamples, rng=rng(8)) for _ in range(2)]
    assert told[0] == told[1]
    assert told[0].low < told[0].mean < told[0].high


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.1, 0.2, "better"),
        (1e-12, 0.2, "better"),
        (0.0, 0.2, "no difference shown"),
        (-0.1, 0.2, "no difference shown"),
        (-0.2, 0.0, "no difference shown"),
        (-0.2, -1e-12, "worse"),
    ],
)
def test_only_an_interval_that_excludes_zero_shows_a_difference(
    low: float, high: float, verdict: str
) -> None:
    assert judge(low, high) == verdict


@pytest.mark.parametrize(
    ("verdicts", "all_told"),
    [
        (["better", "better"], "better"),
        (["worse", "worse"], "worse"),
        (["better", "worse"], "no difference shown"),
        (["better", "no difference shown"], "no difference shown"),
        (["no difference shown", "better"], "no difference shown"),
    ],
)
def test_a_claim_has_to_hold_against_every_control(verdicts: list, all_told: str) -> None:
    assert judge_all(verdicts) == all_told
