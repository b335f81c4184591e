"""Harm: a rise as large as the margin is hardly ever called kept, and none is called lost below it."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.proof.harm import Harm, fewest_examples, judge_harm, judge_rise

pytestmark = pytest.mark.system

MARGIN, ALPHA, RUNS = 0.02, 0.05, 2_000


def simulate(
    rise: float,
    *,
    trainings: int,
    examples: int = 40,
    training_sd: float = 0.02,
    example_sd: float = 0.06,
    draw_sd: float = 0.01,
    runs: int = RUNS,
) -> Counter[str]:
    """Return verdicts on models whose true rise over the base is known."""
    rng = np.random.default_rng([7, trainings, examples])
    verdicts: Counter[str] = Counter()
    for _ in range(runs):
        base = -rng.gamma(2.0, 0.5, examples)
        own = rng.normal(0, example_sd, examples)
        noise = rng.normal(0, 0.02, (trainings, examples))
        seeds = rng.normal(0, training_sd, (trainings, 1))
        tuned = base - (rise + own + seeds + noise)
        runs_of_draws = rng.normal(0, training_sd, (7, 1)) + rng.normal(0, draw_sd, (7, 1))
        draws = base - (rise + own + runs_of_draws + rng.normal(0, 0.02, (7, examples)))
        verdicts[judge_harm(tuned, base, draws, margin=MARGIN, alpha=ALPHA).verdict] += 1
    return verdicts


def most(rate: float, runs: int = RUNS) -> float:
    """Return how many of so many runs a rate may give, three standard errors above it."""
    return runs * rate + 3 * float(np.sqrt(runs * rate * (1 - rate)))


@pytest.mark.parametrize("trainings", [1, 2, 3, 5])
@pytest.mark.parametrize(("training_sd", "example_sd"), [(0.02, 0.06), (0.05, 0.01), (0.002, 0.2)])
def test_a_rise_of_the_margin_is_kept_or_lost_in_a_fortieth_of_all_proofs_at_most(
    trainings: int, training_sd: float, example_sd: float
) -> None:
    verdicts = simulate(MARGIN, trainings=trainings, training_sd=training_sd, example_sd=example_sd)
    assert verdicts["kept"] <= most(ALPHA / 2)
    assert verdicts["lost"] <= most(ALPHA / 2)


def test_a_rise_far_from_the_margin_has_its_verdict() -> None:
    assert simulate(-0.1, trainings=3, runs=200)["kept"] > 150
    assert simulate(0.2, trainings=3, runs=200)["lost"] > 150


@pytest.mark.parametrize(
    ("examples", "margin"), [(60, 0.1), (200, 0.02), (400, 0.02), (1000, 0.02)]
)
def test_right_and_wrong_answers_are_kept_as_rarely(examples: int, margin: float) -> None:
    """Each example is right with the base; a share `margin` of them is wrong afterwards."""
    rng = np.random.default_rng(3)
    base, kept = np.ones(examples), 0
    for _ in range(RUNS):
        tuned = (rng.random((1, examples)) >= margin).astype(float)
        draws = np.repeat(tuned, 5, axis=0)
        harm = judge_harm(tuned, base, draws, margin=margin, alpha=ALPHA, counted=True)
        kept += harm.verdict == "kept"
    assert kept <= most(ALPHA / 2)


def test_no_changed_answer_among_few_shows_nothing_and_among_many_does() -> None:
    def judged(examples: int) -> Harm:
        same = np.ones((3, examples))
        return judge_harm(same, same[0], same, margin=0.02, alpha=ALPHA, counted=True)

    enough = fewest_examples(0.02, ALPHA)
    assert judged(enough - 1).verdict == "not shown"
    assert judged(enough).verdict == "kept"
    assert 190 < enough < 200


@given(st.integers(1, 4), st.integers(2, 12), st.integers(0, 2**32 - 1))
def test_the_rise_lies_in_its_interval_and_shifting_all_losses_changes_nothing(
    trainings: int, examples: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    tuned, base = rng.normal(size=(trainings, examples)), rng.normal(size=examples)
    draws: Any = rng.normal(size=(3, examples))
    harm = judge_harm(tuned, base, draws, margin=0.1, alpha=ALPHA)
    assert harm.low <= harm.rise <= harm.high
    moved = judge_harm(tuned + 5, base + 5, draws + 5, margin=0.1, alpha=ALPHA)
    assert (moved.rise, moved.low, moved.high) == pytest.approx((harm.rise, harm.low, harm.high))


def test_equal_losses_have_no_interval_and_no_error() -> None:
    same = np.zeros((3, 8))
    assert judge_harm(same, same[0], same, margin=0.1, alpha=ALPHA) == Harm(0, 0, 0, "kept")


def test_an_interval_that_holds_the_margin_shows_nothing() -> None:
    assert judge_rise(-0.1, 0.1, 0.02) == "not shown"
    assert judge_rise(-0.1, 0.02, 0.02) == "not shown"
    assert judge_rise(0.02, 0.1, 0.02) == "not shown"
    assert judge_rise(-0.1, 0.01, 0.02) == "kept"
    assert judge_rise(0.03, 0.1, 0.02) == "lost"
