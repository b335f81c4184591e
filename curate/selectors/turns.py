"""Turns of groups, so that every number of first rows holds the groups in their shares.

    sizes 5, 5, 2   weights 2, 1, 1   ->   0 1 0 2 0 1 0 2 0 1 1 1

Imagine the groups poured out together, each at the speed of its weight, until it is empty. When n rows
are out in all, a whole number of rows of each group has to stand for what flowed, and here it is never
a whole row away from it. Such an order always exists (Tijdeman 1980, "The chairman assignment
problem", Discrete Mathematics 32). The j-th row of a group may come once more than j - 1 of it has
flowed and must come by the time that j has, and taking the most urgent row first finds an order
wherever there is one.

Sorting by (j - 1/2) / weight is no substitute: fifty small groups of equal weight would all come at
once.
"""

from heapq import heappop, heappush

import numpy as np
from numpy.typing import NDArray

# Larger than the rounding of sums of weights.
ROUNDING = 1e-6


def weighted_round_robin(
    sizes: NDArray[np.int64], weights: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Return the group of each turn [N] in a weighted round robin of groups.

    Groups of weight 0 come after all others, in proportion to their sizes. Of equally urgent rows, the
    one of the group with the smaller number comes first.

    Args:
        sizes: rows of each group [G].
        weights: not negative [G].
    """
    first = np.flatnonzero((weights > 0) & (sizes > 0))
    last = np.flatnonzero((weights <= 0) & (sizes > 0))
    return np.concatenate(
        [
            first[_order(sizes[first], weights[first])],
            last[_order(sizes[last], sizes[last].astype(np.float64))],
        ]
    )


def cumulative_output(
    sizes: NDArray[np.int64], weights: NDArray[np.float64], times: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the cumulative output of all groups at these times: sum of min(size, weight time)."""
    empty = sizes / weights
    order = np.argsort(empty, kind="stable")
    ends = np.concatenate([[0.0], empty[order]])
    speeds = weights.sum() - np.concatenate([[0.0], np.cumsum(weights[order])])
    amounts = np.concatenate([[0.0], np.cumsum(np.diff(ends) * speeds[:-1])])
    out: NDArray[np.float64] = np.interp(times, ends, amounts)
    return out


def _order(sizes: NDArray[np.int64], weights: NDArray[np.float64]) -> NDArray[np.int64]:
    total = int(sizes.sum())
    groups = np.repeat(np.arange(len(sizes)), sizes)
    before = np.arange(total) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    release_turns = np.floor(cumulative_output(sizes, weights, before / weights[groups]) + ROUNDING)
    due = np.ceil(cumulative_output(sizes, weights, (before + 1) / weights[groups]) - ROUNDING)
    order = np.argsort(release_turns, kind="stable")
    urgency = due.astype(np.int64) * len(sizes) + groups
    served = _serve(release_turns[order].astype(np.int64).tolist(), urgency[order].tolist())
    return np.array(served, dtype=np.int64) % max(len(sizes), 1)


def _serve(release_turns: list[int], urgency: list[int]) -> list[int]:
    """Return the rows by earliest deadline first, among those whose release turn has come."""
    waiting: list[int] = []
    served: list[int] = []
    at, total = 0, len(release_turns)
    for turn in range(total):
        while at < total and (release_turns[at] <= turn or not waiting):
            heappush(waiting, urgency[at])
            at += 1
        served.append(heappop(waiting))
    return served


def interleave(turns: NDArray[np.int64], members: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return members [N] in the order of the turns of their groups.

    Args:
        turns: group numbers [N], as weighted_round_robin returns them.
        members: those of group 0 in their order, then those of group 1, and so on.
    """
    order = np.empty_like(members)
    order[np.argsort(turns, kind="stable")] = members
    return order
