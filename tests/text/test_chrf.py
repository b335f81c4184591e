"""chrF against sacreBLEU: a published score, random texts, texts too short for long n-grams."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.text.chrf import chrf

TEXTS = st.text("ab c.é", max_size=14)


def test_a_published_score() -> None:
    # The example of the metric's card (huggingface/datasets, metrics/chrf): 61.576379378113785.
    one = "The relationship between Obama and Netanyahu is not exactly friendly."
    other = "The ties between Obama and Netanyahu are not particularly friendly."
    assert chrf(one, other) == pytest.approx(0.61576379378113785, abs=1e-12)


def test_by_hand() -> None:
    # Of a, b, c two of three; of ab, bc one of two; no three: (2/3 + 1/2 + 0) / 3, both ways.
    assert chrf("a b x", "abc") == pytest.approx(7 / 18)
    # Recall weighs twice: p = (1 + 1) / 2, r = (2/4 + 1/3) / 2.
    precision, recall = 1.0, 5 / 12
    assert chrf("ab", "abcd") == pytest.approx(5 * precision * recall / (4 * precision + recall))
    assert chrf("", "a") == chrf(" ", " ") == chrf("x", "y") == 0


@given(TEXTS, TEXTS)
def test_it_is_that_of_sacrebleu(text: str, reference: str) -> None:
    metrics = pytest.importorskip("sacrebleu.metrics")
    expected = metrics.CHRF().sentence_score(text, [reference]).score / 100
    assert chrf(text, reference) == pytest.approx(expected, abs=1e-12)


@given(st.text(min_size=1))
def test_a_text_is_itself(text: str) -> None:
    assert chrf(text, text) == pytest.approx(1.0 if text.split() else 0.0)
