"""Random: a uniform draw without replacement, the control that every method must beat."""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.selectors.scored import every_row_counts

VERSION = 1


@method
class RandomSelector(Selector):
    """Every kept row is as likely as any other; the draw depends on the seed alone."""

    title: ClassVar[str] = "a random draw"
    version: ClassVar[int] = VERSION
    needs_scores: ClassVar[bool] = False
    needs_tokens: ClassVar[bool] = False

    method: Literal["random"] = "random"

    def score_rows(self, run: ScoreRun) -> Table:
        """List the kept rows; a random choice scores nothing."""
        return run(scores, run.kept)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return a seeded permutation that does not depend on the order of the table."""
        by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
        return by_id[np.random.default_rng([seed, 0x5E1EC7]).permutation(len(by_id))]

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return no reason at all: a draw needs no scores."""
        return every_row_counts(scores)


@cached(version=VERSION, name="score-random")
def scores(kept: Table) -> pl.DataFrame:
    """Return row_id, with score and nearest_id null."""
    return kept.read().select(
        "row_id",
        score=pl.lit(None, dtype=pl.Float32),
        nearest_id=pl.lit(None, dtype=pl.String),
    )
