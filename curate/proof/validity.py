"""Does a method's score predict what training on rows is worth? The control draws tell, at no cost.

Every random draw is a set of rows with a score each, and its loss is known. Spearman's correlation
between the summed scores of draws and their gains is a small LDS (Park et al. 2023, "TRAK",
arXiv:2303.14186): near 1, sets that score higher train a better model here; near 0, the score says
nothing of that. With few draws only a strong correlation is more than chance.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy

# Below this a permutation of so few draws is too likely to give the same.
LEVEL = 0.05


@dataclass(frozen=True)
class ScoreValidity:
    """Spearman's correlation over n draws, and how likely a worthless score has one as far from 0."""

    correlation: float
    p: float
    draws: int


def score_validity(
    ranking: pl.DataFrame, draws: pl.DataFrame, gains: Sequence[float]
) -> ScoreValidity | None:
    """Return how the summed scores of draws go with their gains; None where either is constant.

    Rows without a score count as the lowest one.

    Args:
        ranking: row_id and score of every kept row.
        draws: row_id and seed, the number of the draw.
        gains: of the draws, larger is better, in the order of their numbers.
    """
    if "score" not in ranking.columns or ranking["score"].null_count() == ranking.height:
        return None
    score = pl.col("score").cast(pl.Float64)
    scores = ranking.select("row_id", score=pl.when(score.is_finite()).then(score))
    summed = (
        draws.join(scores, on="row_id", how="left")
        .with_columns(pl.col("score").fill_null(scores["score"].min()))
        .group_by("seed")
        .agg(pl.col("score").sum())
        .sort("seed")["score"]
        .to_numpy()
    )
    if len(summed) < 3 or np.ptp(summed) == 0 or np.ptp(gains) == 0:
        return None
    correlation = scipy.stats.spearmanr(summed, gains)
    return ScoreValidity(float(correlation.statistic), float(correlation.pvalue), len(summed))


def validity_sentence(correlation: float, p: float, draws: int) -> str:
    """Return what the correlation says, in words."""
    head = (
        f"Over the {draws} random draws, summed scores and gains correlate with {correlation:+.2f}"
    )
    if not p < LEVEL:
        return f"{head} (Spearman): as far as so few draws show, that may be chance."
    if correlation > 0:
        return f"{head} (Spearman): sets that score higher train a better model here."
    return f"{head} (Spearman): sets that score higher train a worse model here."
