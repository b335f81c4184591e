"""The entropy of a model's answers."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy

from curate.judge.uncertainty import entropy_of, surer_half


def test_alike_answers_have_none_and_distinct_ones_the_most() -> None:
    assert entropy_of(["7"] * 5) == 0
    assert entropy_of(list("abcde")) == pytest.approx(math.log(5))
    assert entropy_of(["a", "a", "b"]) == pytest.approx(math.log(3) - 2 / 3 * math.log(2))


@given(st.lists(st.sampled_from("abcd"), min_size=1), st.randoms())
def test_it_is_that_of_the_histogram_in_any_order(values: list[str], random: object) -> None:
    counts = [values.count(value) for value in sorted(set(values))]
    mixed = values[:]
    random.shuffle(mixed)  # type: ignore[attr-defined]
    assert entropy_of(mixed) == pytest.approx(entropy(counts))


@given(st.dictionaries(st.text(), st.floats(0, 2)))
def test_half_of_the_rows_are_surer_than_the_others(entropies: dict[str, float]) -> None:
    sure = surer_half(entropies, dict.fromkeys(entropies, "x"))
    rest = [value for row_id, value in entropies.items() if row_id not in sure]
    assert len(sure) - len(rest) in (0, 1)
    assert all(entropies[row_id] <= value for row_id in sure for value in rest)


def test_ties_go_by_the_text() -> None:
    alike = dict.fromkeys("abcd", 0.0)
    assert surer_half(alike, {"a": "9", "b": "1", "c": "2", "d": "7"}) == {"b", "c"}
