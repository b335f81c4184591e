"""Whether scores go with what training on random sets was worth."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

from curate.proof.validity import score_validity, validity_sentence

SCORES = [0.1, 0.9, 0.4, None, 0.7, 0.2, float("nan"), 0.5]
DRAWS = [[0, 1], [2, 3], [4, 5], [6, 7], [1, 4]]


def ranking(scores: list[float | None]) -> pl.DataFrame:
    return pl.DataFrame({"row_id": [f"r{i}" for i in range(len(scores))], "score": scores})


def draws() -> pl.DataFrame:
    return pl.DataFrame(
        [{"row_id": f"r{i}", "seed": n} for n, ids in enumerate(DRAWS) for i in ids]
    )


def test_it_is_spearmans_correlation_of_summed_scores_and_gains() -> None:
    gains = [0.3, 0.1, 0.5, 0.2, 0.4]
    validity = score_validity(ranking(SCORES), draws(), gains)
    # Rows without a score, or with none that is a number, count as the lowest.
    lowest = [0.1 if s is None or np.isnan(s) else s for s in SCORES]
    summed = [sum(lowest[i] for i in ids) for ids in DRAWS]
    assert validity is not None
    assert validity.correlation == pytest.approx(spearmanr(summed, gains).statistic)
    assert validity.draws == 5


def test_without_scores_or_without_differences_there_is_none() -> None:
    assert score_validity(ranking([None] * 8), draws(), [1, 2, 3, 4, 5]) is None
    assert score_validity(ranking([0.5] * 8), draws(), [1, 2, 3, 4, 5]) is None
    assert score_validity(ranking(SCORES), draws(), [1.0] * 5) is None


@pytest.mark.parametrize(
    ("correlation", "p", "words"),
    [
        (0.8, 0.01, "train a better model"),
        (-0.8, 0.01, "train a worse model"),
        (0.5, 0.2, "chance"),
    ],
)
def test_it_is_told_in_words(correlation: float, p: float, words: str) -> None:
    assert words in validity_sentence(correlation, p, 9)
