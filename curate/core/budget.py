"""Rows taken up to a budget: down a ranking, passing over what no longer fits.

    tokens of the ranking   40   900   30   45   28   20      budget 100
    taken                   40     -   30    -   28    -      98, within SLACK

A budget of tokens is met from below. One long row must not end the count, so a row with more tokens than
are left is passed over, also where it is the best of all and longer than the whole budget, and shorter
ones that rank lower are taken. But only until all but SLACK of the budget is spent: else a few tokens
would be hunted for down to the worst rows of the ranking. Rows (and fractions) are met exactly.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from curate.core.selectparams import Budget

# The share of a budget of tokens that may be left unspent.
SLACK = 0.02
ROUNDING = 1e-6
# Rows that are met as numbers of Python.
AT_ONCE = 8_192


class BudgetOutcome(IntEnum):
    """Whether a ranked row is taken within the budget, and if not, why."""

    TAKEN = 0
    PASSED_OVER = 1
    OVER_CAP = 2
    BEYOND = 3


@dataclass(frozen=True)
class BudgetLimit:
    """A budget in tokens or rows, and how much of it may be left unspent."""

    total: float
    slack: float = 0.0


@dataclass(frozen=True)
class Cap:
    """Upper limits of groups: the group number of each row [N], and what each group may cost [G]."""

    group: NDArray[np.int64]
    limit: NDArray[np.float64]


def limit_of(budget: Budget, count: int) -> BudgetLimit:
    """Return the limit in tokens or rows that a budget sets.

    A fraction (of `count` rows) is rounded to the nearest number of rows, and there is at least one row.
    """
    if budget.tokens is not None:
        return BudgetLimit(budget.tokens, SLACK * budget.tokens)
    rows = budget.rows if budget.rows is not None else round((budget.fraction or 0) * count)
    return BudgetLimit(max(rows, 1))


def spend(
    cost: NDArray[np.int64], limit: BudgetLimit, caps: Sequence[Cap] = ()
) -> NDArray[np.int8]:
    """Return the BudgetOutcome of each row [N], met in this order.

    Args:
        cost: of each row [N], in the unit of the limit.
        limit: once a row does not fit and no more than its slack is left, all that follow are BEYOND.
        caps: a row that does not fit into what its group has left of one is OVER_CAP.
    """
    outcomes = np.full(len(cost), BudgetOutcome.BEYOND, dtype=np.int8)
    left = limit.total
    room = [cap.limit.tolist() for cap in caps]
    rows = zip(_plain(cost), *(_plain(cap.group) for cap in caps), strict=True)
    for place, (price, *groups) in enumerate(rows):
        if price > left:
            if left <= limit.slack:
                break
            outcomes[place] = BudgetOutcome.PASSED_OVER
        elif any(price > r[g] + ROUNDING for r, g in zip(room, groups, strict=True)):
            outcomes[place] = BudgetOutcome.OVER_CAP
        else:
            outcomes[place] = BudgetOutcome.TAKEN
            left -= price
            for r, g in zip(room, groups, strict=True):
                r[g] -= price
    return outcomes


def _plain(numbers: NDArray[np.int64]) -> Iterator[int]:
    """Yield numbers as Python's own, some at once: all of them would take forty bytes each."""
    for start in range(0, len(numbers), AT_ONCE):
        yield from numbers[start : start + AT_ONCE].tolist()
