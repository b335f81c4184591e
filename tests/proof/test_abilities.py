"""Classes of abilities: what an interval shows, and Holm's method against its definition."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from curate.proof.abilities import PairedTest, classify, holm, paired_test
from tests.conftest import examples


def closed(p_values: list[float]) -> list[float]:
    """Holm's method by its definition: every set of hypotheses must be refused, by Bonferroni."""
    everyone = range(len(p_values))
    sets = [s for size in range(1, len(p_values) + 1) for s in combinations(everyone, size)]
    return [
        min(1.0, max(len(s) * min(p_values[i] for i in s) for s in sets if one in s))
        for one in everyone
    ]


@examples(1)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p_values: list[float]) -> None:
    assert holm(p_values) == pytest.approx(closed(p_values))


def shifted(gain: float, spread: float = 0.01) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    other = rng.normal(0, 1, 20) + np.zeros((3, 1))
    return other + gain + rng.normal(0, spread, (3, 20)), other


@pytest.mark.parametrize(
    ("gain", "spread", "growth"),
    [
        (0.5, 0.01, "growing"),
        (-0.5, 0.01, "harmed"),
        (0.0, 0.01, "saturated"),
        # Shown to be there, and shown not to matter.
        (0.05, 0.001, "saturated"),
        (-0.05, 0.001, "saturated"),
        (0.05, 2.0, "not shown"),
    ],
)
def test_the_class_of_one_ability_is_what_its_interval_shows(
    gain: float, spread: float, growth: str
) -> None:
    test = paired_test(*shifted(gain, spread), margin=0.1)
    assert classify([test]) == [growth]
    inside = test.low > -0.1 and test.high < 0.1
    expected = {"growing": test.low > 0, "harmed": test.high < 0, "saturated": inside}
    assert expected.get(growth, not inside and test.low < 0 < test.high)


@given(st.floats(-1, 1), st.floats(0.01, 3), st.floats(0.02, 1), st.integers(0, 5))
def test_p_values_reach_a_twentieth_where_the_interval_ends(
    gain: float, spread: float, margin: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    test = paired_test(rng.normal(gain, spread, (3, 12)), np.zeros((3, 12)), margin)
    assert (test.p < 0.05) == (test.low > 0 or test.high < 0)
    assert (test.p_margin < 0.05) == (-margin < test.low and test.high < margin)


def test_of_one_training_the_p_value_is_that_of_the_t_test() -> None:
    one = np.random.default_rng(0).normal(0.3, 1, (1, 15))
    test = paired_test(one, np.zeros_like(one), margin=0.5)
    assert test.p == pytest.approx(stats.ttest_1samp(one[0], 0).pvalue)
    sides = [
        stats.ttest_1samp(one[0], edge, alternative=side).pvalue
        for edge, side in ((-0.5, "greater"), (0.5, "less"))
    ]
    assert test.p_margin == pytest.approx(min(2 * max(sides), 1))


def test_many_abilities_need_more_than_one() -> None:
    weak = PairedTest(0.2, 0.01, 0.39, 0.03, 0.9)
    nothing = PairedTest(0.01, -0.2, 0.22, 0.9, 0.9)
    assert classify([weak]) == ["growing"]
    assert classify([weak, nothing]) == ["not shown", "not shown"]


@pytest.mark.parametrize("shape", [(1, 1), (3, 8)])
def test_without_any_variance_nothing_is_shown(shape: tuple[int, int]) -> None:
    assert classify([paired_test(np.ones(shape), np.zeros(shape), 0.1)]) == ["not shown"]


def test_abilities_without_a_gain_are_seldom_called_growing_or_harmed() -> None:
    rng, called = np.random.default_rng(0), 0
    for _ in range(400):
        tests = []
        for _ in range(5):
            differences = rng.normal(0, 1, 30) + rng.normal(0, 0.2, (3, 1)) + np.zeros((3, 30))
            tests.append(paired_test(differences, np.zeros((3, 30)), margin=0.01))
        called += any(growth in ("growing", "harmed") for growth in classify(tests))
    assert called / 400 <= 0.08
