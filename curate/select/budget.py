"""How many of the best rows a budget buys."""

import numpy as np
from numpy.typing import NDArray

from curate.registry import Budget


def rows_within(budget: Budget, tokens_in_order: NDArray[np.int64], of: int | None = None) -> int:
    """Return how many rows, best first, the budget covers: at least 1, at most all.

    Rows are met exactly, as far as there are that many. Tokens are met from below, within one row. A
    fraction (of so many rows, by default of those given) is rounded to the nearest number of rows.
    """
    count = len(tokens_in_order)
    if budget.rows is not None:
        wanted = budget.rows
    elif budget.fraction is not None:
        wanted = round(budget.fraction * (count if of is None else of))
    else:
        wanted = int((np.cumsum(tokens_in_order) <= (budget.tokens or 0)).sum())
    return min(max(wanted, 1), count)
