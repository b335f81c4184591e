"""Plans of requests for calls: what kind each is, which functions it uses, which it is shown with.

    simple        one call
    parallel      2 calls or more at one time: of the same function with other arguments, or of several
    irrelevance   no call, since no function that is shown can do what is asked

The kinds are those of the Berkeley Function-Calling Leaderboard (BFCL). Functions take turns, so that
all are used about as often; those that are shown beside are drawn.
"""

from dataclasses import dataclass
from itertools import cycle, islice
from typing import Literal

import numpy as np

CallKind = Literal["simple", "parallel", "irrelevance"]


@dataclass(frozen=True)
class ToolPlan:
    """A request to be written: the names of the functions that it calls, and of those it comes with."""

    kind: CallKind
    uses: tuple[str, ...]
    offered: tuple[str, ...]


def plan_requests(
    names: list[str],
    rows: int,
    shares: tuple[float, float],
    most_calls: int,
    offered: int,
    rng: np.random.Generator,
) -> list[ToolPlan]:
    """Return a plan for each row.

    Args:
        names: the functions.
        rows: how many plans.
        shares: of parallel requests and of those that need no call.
        most_calls: of a parallel request.
        offered: functions that a request is shown with, at most; those that it uses are among them.
        rng: draws.
    """
    parallel, irrelevant = count_kinds(rows, shares)
    kinds: list[CallKind] = ["simple"] * rows
    kinds[:parallel] = ["parallel"] * parallel
    kinds[parallel : parallel + irrelevant] = ["irrelevance"] * irrelevant
    turns = cycle([names[i] for i in rng.permutation(len(names))])
    plans = []
    for place in rng.permutation(rows).tolist():
        kind = kinds[place]
        uses: tuple[str, ...] = ()
        if kind == "simple":
            uses = (next(turns),)
        elif kind == "parallel":
            count = int(rng.integers(2, most_calls + 1))
            uses = tuple(islice(turns, count)) if rng.random() < 1 / 2 else (next(turns),) * count
        plans.append(ToolPlan(kind, uses, _offer(names, uses, offered, rng)))
    return plans


def count_kinds(rows: int, shares: tuple[float, float]) -> tuple[int, int]:
    """Return how many rows are parallel requests, and how many need no call: never more than all."""
    parallel, irrelevant = (round(rows * share) for share in shares)
    return parallel, min(irrelevant, rows - parallel)


def _offer(
    names: list[str], uses: tuple[str, ...], most: int, rng: np.random.Generator
) -> tuple[str, ...]:
    """Return the functions that are used, and drawn ones beside them, in an order that is drawn."""
    used = list(dict.fromkeys(uses))
    others = [name for name in names if name not in used]
    beside = [others[i] for i in rng.permutation(len(others))[: max(most - len(used), 0)]]
    together = used + beside
    return tuple(together[i] for i in rng.permutation(len(together)))
