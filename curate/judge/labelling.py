"""Which rows to label next: those whose labels teach most, drawn so that each label's weight is known.

    row_id            doubt   density   chance   weight
    web/a.jsonl:7     0.93    0.71      0.020    0.31
    web/a.jsonl:5082  0.04    0.66      0.002    3.30

A label teaches most where the score decides least and where many rows are alike (information density:
Settles and Craven 2008, "An analysis of active learning strategies for sequence labeling tasks"):

    use     = doubt * density          doubt    exp(-|r - t| / WIDTH), r the rank of the row's score
                                                from 0 to 1, t that of the threshold
                                       density  mean cosine to the NEAREST nearest rows

Taking the most useful rows would say nothing of the others, and make every share of right rows that is
reckoned from them one of doubtful rows. So `count` rows are drawn with unequal chances, all known:

    chance  = count * (RANDOM / N + (1 - RANDOM) * use / sum of use)        at most 1
    weight  = count / (N * chance)                                          at most 1 / RANDOM

RANDOM is the honest share: no row has less of a chance than in a random draw of so many (a defensive
mixture: Hesterberg 1995; Owen and Zhou 2000). Shares weighted so (Horvitz and Thompson 1952) are those
of all rows, and no label is kept for measuring alone.

A batch is diverse since the draw is systematic (Madow 1949): rows lie in the order of the nearest of
`count` rows drawn at random, and one draw takes a row each whole step of the sum of chances. The drawn
rows are then shuffled, so that whoever stops early has a sample still.

Pitfalls: rows that are skipped since they are hard are missing, and no weight says so.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.judge.measures import Floats
from curate.models.neighbours.nearest import nearest_rows

# By tests/benchmarks/bench_labels.py: a smaller share or width gains nothing and makes shares less sure.
RANDOM = 0.5
WIDTH = 0.4
NEAREST = 10
# Of larger pools so many random rows stand for all.
MOST_CANDIDATES = 20_000
Vectors = NDArray[np.float32]
DRAWN = {
    "row_id": pl.String,
    "score": pl.Float64,
    "doubt": pl.Float64,
    "density": pl.Float64,
    "weight": pl.Float64,
}


@dataclass(frozen=True)
class Candidates:
    """Rows without a label.

    Attributes:
        ids: of the rows [N].
        scores: higher is better; NaN where a row has none.
        threshold: of the scores; None where nothing is cut.
        vectors: [N, d], of which a row of zeros is nowhere; None where there are none.
    """

    ids: pl.Series
    scores: Floats
    threshold: float | None
    vectors: Vectors | None = None


def draw_rows(candidates: Candidates, count: int, seed: int) -> pl.DataFrame:
    """Return the rows to label (DRAWN), in the order to label them in."""
    rng = np.random.default_rng(seed)
    count, rows = min(count, len(candidates.ids)), len(candidates.ids)
    doubts = doubt_of(candidates.scores, candidates.threshold)
    densities, order = np.ones(rows), rng.permutation(rows)
    if candidates.vectors is not None and rows > 1:
        densities = density_of(candidates.vectors)
        order = near_together(candidates.vectors, rng.choice(rows, count, replace=False), order)
    chances = chances_of(doubts * densities, count)
    drawn = rng.permutation(order[systematic(chances[order], rng.random())])
    return pl.DataFrame(
        {
            "row_id": candidates.ids.gather(drawn),
            "score": pl.Series(candidates.scores[drawn]).fill_nan(None),
            "doubt": doubts[drawn],
            "density": densities[drawn],
            "weight": (count / rows / chances[drawn]).round(6),
        },
        schema=DRAWN,
    )


def doubt_of(scores: Floats, threshold: float | None) -> Floats:
    """Return how near each row is to the threshold, 0 to 1, by ranks; 1 for a row without a score.

    Without a threshold doubt is greatest where scores are lowest: the wrong rows are there, and few.
    """
    doubts = np.ones(len(scores))
    scored = np.isfinite(scores)
    values = scores[scored]
    if len(values):
        ranks = pl.Series(values).rank("average").to_numpy() / len(values)
        at = 0.0 if threshold is None else float((values < threshold).mean())
        doubts[scored] = np.exp(-np.abs(ranks - at) / WIDTH)
    return doubts


def density_of(vectors: Vectors) -> Floats:
    """Return the mean cosine of each row to its nearest others, 0 to 1; the mean where it has none."""
    present = np.flatnonzero(vectors.any(axis=1))
    if len(present) < 2:
        return np.ones(len(vectors))
    near = nearest_rows(vectors[present], min(NEAREST + 1, len(present)))
    # The nearest one is the row itself, or a copy of it.
    means = near.cosines[:, 1:].clip(0, 1).mean(axis=1)
    densities = np.full(len(vectors), means.mean())
    densities[present] = means
    return densities


def near_together(
    vectors: Vectors, centres: NDArray[np.int64], order: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the rows of an order, those of one centre together."""
    nearest = (vectors[order] @ vectors[centres].T).argmax(axis=1)
    return order[np.argsort(nearest, kind="stable")]


def chances_of(use: Floats, count: int) -> Floats:
    """Return each row's chance to be among the `count` that are drawn; they sum to it."""
    rows = len(use)
    total = use.sum()
    own = use / total if total > 0 else np.full(rows, 1 / rows)
    mixture = RANDOM / rows + (1 - RANDOM) * own
    sure = np.zeros(rows, dtype=np.bool_)
    while True:
        rest = mixture[~sure].sum()
        chances = np.where(sure, 1.0, (count - sure.sum()) * mixture / rest if rest else 1.0)
        over = ~sure & (chances >= 1)
        if not over.any():
            return chances
        sure |= over


def systematic(chances: Floats, start: float) -> NDArray[np.int64]:
    """Return the rows in which the running sum of chances passes start, start + 1, start + 2 ..."""
    sums = np.cumsum(chances)
    marks = np.arange(round(float(sums[-1]))) + start
    return np.minimum(np.searchsorted(sums, marks, side="right"), len(chances) - 1)
