"""From similarities [rows, target examples] to an order of rows: one of the two axes of a selection.

The other axis is the representation that the similarities are of (`rds`, `less`, `embed`, `bm25`). An
order is a re-ranking of stored similarities, so trying another costs no pass of a model.

    round_robin   examples take turns, each names its best row        Ivison et al. 2025, algorithm 1
    global_max    by the largest similarity (doubly greedy)           Ivison et al. 2025, large pools
    mean          by the mean similarity
    softmax       by sum_q exp(S[q,i] / t) / sum_j exp(S[q,j] / t)    derived, see `softmax_mass`
    knn_uniform   by how many examples have a row among their K best  TSDS, 2024, arXiv:2410.11303
    knn_kde       the same, with less mass where rows lie densely     TSDS, see curate.selectors.knn_kde
    subtask_max   by the largest mean over the examples of a task     Xia et al. 2024, LESS

"A Critical Look at Targeted Instruction Selection" (2026, arXiv:2602.14696) compares these apart from
the representation: the representation matters more, between the algorithms lies a point at most.

Target examples of several tasks (several `origin`s) are combined task by task, and then the tasks take
turns: similarities of different tasks differ in scale, and under one maximum the task with the larger
ones would take the budget (Ivison et al. 2025, table 7). `subtask_max` is that maximum, as published.
"""

from collections.abc import Iterable
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.selectors.knn_kde import transport_mass
from curate.selectors.rounds import RowNumbers, best_first, round_robin, round_robin_refill
from curate.selectors.similarcolumns import similarity_columns

Combine = Literal[
    "round_robin", "global_max", "mean", "softmax", "knn_uniform", "knn_kde", "subtask_max"
]
COMBINE = (
    "examples take turns; or rows by largest or mean similarity, by softmax over rows, by how many "
    "examples have a row among their nearest, by the mass that these give it where rows lie densely, "
    "or by the largest mean of a task"
)
TEMPERATURE = (
    "of softmax: near 0 each example gives its vote to its best row, large ones make it the mean"
)
# As published: cosines are 1 - 2 cost, and the entropic weight is 0.01.
PUBLISHED_TEMPERATURE = 0.02
# TSDS: how transport cost and diversity are weighed, and the most neighbours of an example.
ALPHA = 0.01
DIVERSITY_SCALE = 5.0
MOST_NEIGHBOURS = 5_000
NO_DENSITY = (
    "select.combine: knn_kde needs how densely rows lie, and these scores do not have it; rds, embed, "
    "bm25 and less with way: datastore store it, so run the recipe again with one of them"
)


def rank_similarities(
    scores: pl.DataFrame,
    combine: Combine,
    *,
    refill: bool = False,
    temperature: float = PUBLISHED_TEMPERATURE,
) -> RowNumbers:
    """Return row numbers, best first; ties go to the smaller row_id.

    Args:
        scores: what `similarity_table` returned; with a density for knn_kde.
        combine: how the examples of a task are combined.
        refill: a row that was named before does not cost the turn, neither an example nor a task.
        temperature: of softmax.

    Raises:
        UserError: there is no density.
    """
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    near = has_near_rows(scores)
    tasks = scores["tasks"][0].to_numpy() if "tasks" in scores.columns else np.zeros(len(near))
    if combine == "round_robin" and not refill:
        return by_id[_round_robin(scores, by_id, np.flatnonzero(near | ~near.any()), tasks)]
    similar = scores["similarities"].to_numpy()[by_id]
    if combine == "subtask_max":
        return by_id[best_first(subtask_max(similar, tasks))]
    density = _density(scores)[by_id] if combine == "knn_kde" else None
    if near.any() and combine in ("round_robin", "softmax", "knn_uniform", "knn_kde"):
        # What is similar to no row can name none: its turns would go by row_id.
        similar, tasks = similar[:, near], tasks[near]
    names = np.unique(tasks)
    orders = (
        _order(
            similar[:, tasks == task],
            combine,
            refill=refill,
            temperature=temperature,
            density=density,
        )
        for task in names
    )
    return by_id[next(orders) if len(names) == 1 else _turns(orders, len(similar), refill=refill)]


def has_near_rows(scores: pl.DataFrame) -> NDArray[np.bool_]:
    """Return which target examples [Q] have any similarity to any row; none where none is stored."""
    if "similarities" not in scores.columns:
        return np.ones(0, dtype=np.bool_)
    columns = similarity_columns(scores)
    return np.array([np.nan_to_num(column).any() for column in columns], dtype=np.bool_)


def _round_robin(
    scores: pl.DataFrame, by_id: RowNumbers, examples: RowNumbers, tasks: NDArray[np.floating]
) -> RowNumbers:
    """Return the order of all rows [N] where examples take turns, without a copy of what is stored."""
    names = np.unique(tasks[examples])
    orders = (
        round_robin(
            map(best_first, similarity_columns(scores, by_id, examples[tasks[examples] == task])),
            len(by_id),
        )
        for task in names
    )
    return next(orders) if len(names) == 1 else round_robin(orders, len(by_id))


def _density(scores: pl.DataFrame) -> NDArray[np.floating]:
    """Return the density of each row, NaN where there is none.

    Raises:
        UserError: the scores have none.
    """
    if "density" not in scores.columns or scores["density"].null_count() == scores.height:
        raise UserError(NO_DENSITY)
    density: NDArray[np.floating] = scores["density"].fill_null(np.nan).to_numpy()
    return density


def _order(
    similar: NDArray[np.float32],
    combine: Combine,
    *,
    refill: bool,
    temperature: float,
    density: NDArray[np.floating] | None,
) -> RowNumbers:
    """Return the order of all rows [N] by the examples of one task [N, Q]."""
    match combine:
        case "round_robin":
            rankings = (best_first(column) for column in similar.T)
            return _turns(rankings, len(similar), refill=refill)
        case "softmax":
            return best_first(softmax_mass(similar, temperature))
        case "knn_uniform":
            # A count has few values: rows of one count go by their largest similarity.
            return np.lexsort((-similar.max(axis=1), -nearest_counts(similar)))
        case "knn_kde":
            assert density is not None
            worth = (1 - ALPHA) * similar.shape[1] * DIVERSITY_SCALE / ALPHA
            mass = transport_mass(similar, density, worth)
            return np.lexsort((-similar.max(axis=1), -mass))
        case "mean":
            return best_first(similar.mean(axis=1, dtype=np.float64))
        case _:
            return best_first(similar.max(axis=1))


def _turns(rankings: Iterable[RowNumbers], size: int, *, refill: bool) -> RowNumbers:
    """Return all rows in the order in which examples or tasks that take turns name them.

    Without `refill` one ranking is in memory at a time.
    """
    return round_robin_refill(list(rankings), size) if refill else round_robin(rankings, size)


def subtask_max(similar: NDArray[np.float32], tasks: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return for each row [N] the largest, over tasks, of its mean similarity to a task's examples."""
    means = [similar[:, tasks == task].mean(axis=1, dtype=np.float64) for task in np.unique(tasks)]
    largest: NDArray[np.float64] = np.max(means, axis=0)
    return largest


def softmax_mass(similar: NDArray[np.float32], temperature: float) -> NDArray[np.float64]:
    """Return what each row [N] gets where every example shares one vote by a softmax over the rows.

    With cost (1 - S) / 2, entropic weight e and free row marginals, the plan of unbalanced optimal
    transport is this softmax at temperature 2 e: no iteration is needed. Derived, not published as such.

        S = [[.9], [.9], [.1]], t = .4: e^0, e^0, e^-2 over their sum -> .468, .468, .063

    Args:
        similar: [N, Q].
        temperature: above 0.
    """
    mass = np.zeros(len(similar))
    for column in similar.T.astype(np.float64):
        weights = np.exp((column - column.max()) / temperature)
        mass += weights / weights.sum()
    return mass


def nearest_counts(similar: NDArray[np.float32]) -> NDArray[np.int64]:
    """Return for how many examples each row [N] is among the K most similar."""
    size = neighbourhood(similar)
    counts = np.zeros(len(similar), dtype=np.int64)
    for column in similar.T:
        counts[best_first(column)[:size]] += 1
    return counts


def neighbourhood(similar: NDArray[np.float32]) -> int:
    """Return K of TSDS: the rows around an example among which its mass is shared evenly.

    K grows while spreading each example's mass further costs less than the diversity is worth:
    (a / C) sum_q sum_{k <= K} (d[q, K+1] - d[q, k]) < (1 - a) Q, with d = 1 - S sorted for each example.
    """
    rows, examples = similar.shape
    most: int = min(MOST_NEIGHBOURS, rows - 1)
    # Ascending distances [Q, most + 1]; K = 1 .. most needs the next one too.
    distances = np.sort(1 - similar.T.astype(np.float64), axis=1)[:, : most + 1]
    within = np.cumsum(distances, axis=1)[:, :-1]
    sizes = np.arange(1, most + 1)
    spread = (sizes * distances[:, 1:] - within).sum(axis=0)
    worth = (1 - ALPHA) * examples * DIVERSITY_SCALE / ALPHA
    larger = int(np.count_nonzero(spread < worth))
    return max(1, min(most, 1 + larger))
