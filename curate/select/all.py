"""All: every kept row in pool order, which is what a recipe without `select` gets (cleaning alone)."""

from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.registry import Budget, Selector, SelectParams, ShortBudget, add_selector
from curate.select import random
from curate.select.scored import every_row_counts

VERSION = 1


class AllParams(SelectParams):
    """Every row that the stages keep, in the order of the pool; needs no model and no target."""

    method: Literal["all"] = "all"
    budget: ShortBudget = Budget(fraction=1)


def rank(scores: pl.DataFrame, params: AllParams, seed: int) -> NDArray[np.int64]:
    """Return the row numbers of the table, which lists the kept rows in pool order."""
    return np.arange(scores.height, dtype=np.int64)


add_selector(
    Selector(
        AllParams, VERSION, False, random.score, rank, needs_scores=False, needs_tokens=False,
        unscored=every_row_counts,
    )
)  # fmt: skip
