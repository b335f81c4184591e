"""Rows by a similarity to each target example: how they are stored, and three ways to combine them.

Target examples of several tasks (several `origin`s) are combined task by task, and then the tasks take
turns: similarities of different tasks differ in scale, and under one maximum the task with the larger
ones would take the budget (Ivison et al. 2025, table 7).
"""

from collections.abc import Iterable, Iterator
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table
from curate.core.selector import Selector
from curate.selectors.rounds import RowNumbers, best_first, round_robin, round_robin_refill
from curate.selectors.scored import blank_out

Combine = Literal["round_robin", "global_max", "mean"]
# Equal texts get equal similarities: where a row lies in a block moves the last digits of a product.
DECIMALS = 6


class SimilarityParams(Selector):
    """Base of selectors that rank by similarities to target examples."""

    combine: Combine = Field(
        "round_robin",
        description="examples take turns, or rows by their largest or mean similarity",
    )


def similarity_table(
    kept: Table, target: Table, blocks: Iterable[NDArray[np.floating]], reason: str
) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest similarity), nearest_id, reason, similarities [Q].

    A row of which a similarity is no finite number has no score, for this reason, and similarities 0.
    Where the target has several tasks there is one more column, the same in all rows: tasks [Q].

    Args:
        kept: the kept rows, in pool order.
        target: the target examples.
        blocks: similarities [n, Q] of the kept rows, in pool order.
        reason: why one may not be finite.
    """
    similar = np.concatenate([block.round(DECIMALS).astype(np.float32) for block in blocks])
    blank = ~np.isfinite(similar).all(axis=1)
    similar[blank] = 0
    examples = target.read(["row_id", "origin"])
    frame = pl.DataFrame(
        {
            "row_id": kept.read(["row_id"])["row_id"],
            "score": similar.max(axis=1),
            "nearest_id": examples["row_id"].gather(similar.argmax(axis=1)),
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, examples.height)),
        }
    )
    frame = blank_out(frame, blank, reason)
    tasks = task_numbers(examples["origin"])
    if max(tasks) > 0:
        frame = frame.with_columns(tasks=pl.lit(tasks, dtype=pl.Array(pl.Int16, len(tasks))))
    return Counted(frame, {"unscored": int(blank.sum()), "tasks": max(tasks) + 1})


def task_numbers(origins: pl.Series) -> list[int]:
    """Return the number of each target row's task: its origin, in the order of the target file."""
    named = origins.to_list()
    order = list(dict.fromkeys(named))
    return [order.index(name) for name in named]


def has_near_rows(scores: pl.DataFrame) -> NDArray[np.bool_]:
    """Return which target examples [Q] have any similarity to any row; none where none is stored."""
    if "similarities" not in scores.columns:
        return np.ones(0, dtype=np.bool_)
    similar = np.nan_to_num(scores["similarities"].to_numpy())
    near: NDArray[np.bool_] = similar.any(axis=0)
    return near


def rank_similarities(
    scores: pl.DataFrame, combine: Combine, *, refill: bool = False
) -> RowNumbers:
    """Return row numbers, best first; ties go to the smaller row_id.

    Args:
        scores: what `similarity_table` returned.
        combine: how the examples of a task are combined.
        refill: a row that was named before does not cost the turn, neither an example nor a task.
    """
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    similar = scores["similarities"].to_numpy()[by_id]
    size, examples = similar.shape
    tasks = scores["tasks"][0].to_numpy() if "tasks" in scores.columns else np.zeros(examples)
    near = has_near_rows(scores)
    if near.any() and combine == "round_robin":
        # What is similar to no row can name none: its turns would go by row_id.
        similar, tasks = similar[:, near], tasks[near]
    orders = _task_orders(similar, tasks, combine, refill=refill)
    if len(np.unique(tasks)) == 1:
        return by_id[next(orders)]
    return by_id[round_robin_refill(list(orders), size) if refill else round_robin(orders, size)]


def _task_orders(
    similar: NDArray[np.float32], tasks: NDArray[np.int64], combine: Combine, *, refill: bool
) -> Iterator[RowNumbers]:
    """Yield the order of all rows [N] by each task."""
    for task in np.unique(tasks):
        own = similar[:, tasks == task]
        if combine == "round_robin":
            rankings = (best_first(column) for column in own.T)
            rounds = (
                round_robin_refill(list(rankings), len(own))
                if refill
                else round_robin(rankings, len(own))
            )
            yield rounds
        elif combine == "mean":
            yield best_first(own.mean(axis=1, dtype=np.float64))
        else:
            yield best_first(own.max(axis=1))


def rank_scores(scores: pl.DataFrame) -> NDArray[np.int64]:
    """Return row numbers by score, best first; ties go to the smaller row_id, null comes last."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    value = scores["score"].fill_null(-np.inf).to_numpy()[by_id]
    return by_id[np.argsort(-value, kind="stable")]
