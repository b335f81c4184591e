"""All: every kept row in pool order, which is what a recipe without `select` gets (cleaning alone)."""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.selectparams import Budget, ShortBudget
from curate.selectors.random import scores
from curate.selectors.scored import every_row_counts

VERSION = 1


@method
class AllSelector(Selector):
    """Every row that the stages keep, in the order of the pool; needs no model and no target."""

    version: ClassVar[int] = VERSION
    needs_scores: ClassVar[bool] = False
    needs_tokens: ClassVar[bool] = False

    method: Literal["all"] = "all"
    budget: ShortBudget = Budget(fraction=1)

    def score_rows(self, run: ScoreRun) -> Table:
        """List the kept rows."""
        return run(scores, run.kept)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return the row numbers of the table, which lists the kept rows in pool order."""
        return np.arange(scores.height, dtype=np.int64)

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return no reason at all: a draw needs no scores."""
        return every_row_counts(scores)
