"""Target examples, or whole target tasks, take turns in naming rows.

Each names its best row, then all name their second best, and so on (Ivison et al. 2025, algorithm 1).
A row that was named before costs the turn but no budget; with `refill` the next best is named instead.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

RowNumbers = NDArray[np.int64]


def best_first(values: NDArray[np.floating]) -> RowNumbers:
    """Return row numbers by value [N], the largest first; of equals, the smaller number."""
    order: RowNumbers = np.argsort(-values, kind="stable")
    return order


def round_robin(rankings: Iterable[RowNumbers], size: int) -> RowNumbers:
    """Return all rows in the order in which they are first named.

    In round t, voter q names its t-th best row, new or not. So row i comes at the first of the times
    t(q, i) * Q + q, and sorting by that gives the whole order.

    Args:
        rankings: for each of Q voters all N row numbers, best first; read one at a time.
        size: N.
    """
    round_of = np.full(size, size, dtype=np.int64)
    voter = np.zeros(size, dtype=np.int64)
    times = np.empty(size, dtype=np.int64)
    for q, ranking in enumerate(rankings):
        times[ranking] = np.arange(size)
        earlier = times < round_of
        round_of[earlier], voter[earlier] = times[earlier], q
    order: RowNumbers = np.lexsort((voter, round_of))
    return order


def round_robin_refill(rankings: Sequence[RowNumbers], size: int) -> RowNumbers:
    """Return all rows in the order in which they are named where each turn names a new one."""
    taken = np.zeros(size, dtype=bool)
    at = [0] * len(rankings)
    order = np.empty(size, dtype=np.int64)
    for turn in range(size):
        q = turn % len(rankings)
        ranking = rankings[q]
        while taken[ranking[at[q]]]:
            at[q] += 1
        order[turn] = ranking[at[q]]
        taken[order[turn]] = True
    return order
