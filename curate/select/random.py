"""Random: a uniform draw without replacement, the control that every method must beat."""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.registry import ScoreRun, Selector, SelectParams, add_selector
from curate.select.scored import every_row_counts

VERSION = 1


class RandomParams(SelectParams):
    """Every kept row is as likely as any other; the draw depends on the seed alone."""

    method: Literal["random"] = "random"


def score(run: ScoreRun, params: RandomParams) -> Table:
    """List the kept rows; a random choice scores nothing."""
    return run(scores, run.kept)


@cached(version=VERSION, name="score-random")
def scores(kept: Table) -> pl.DataFrame:
    """Return row_id, with score and nearest_id null."""
    return kept.read().select(
        "row_id",
        score=pl.lit(None, dtype=pl.Float32),
        nearest_id=pl.lit(None, dtype=pl.String),
    )


def rank(scores: pl.DataFrame, params: RandomParams, seed: int) -> NDArray[np.int64]:
    """Return a seeded permutation that does not depend on the order of the table."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    return by_id[np.random.default_rng([seed, 0x5E1EC7]).permutation(len(by_id))]


add_selector(
    Selector(
        RandomParams, VERSION, False, score, rank, needs_scores=False, needs_tokens=False,
        unscored=every_row_counts,
    )
)  # fmt: skip
