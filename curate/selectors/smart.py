"""SMART: a share of the budget for each task by its worth among them, then its representative rows.

Renduchintala, Bhatia and Ramakrishnan 2024, arXiv:2403.08370. A task is an origin (or a source), its
vector the mean of the embeddings of its prompts, s_ij = max(0, cos) between tasks.

    1. Tasks are ordered greedily by graph cut, f(X) = sum over all i and j in X of s_ij
       - lambda * sum over i, j in X of s_ij, which gives each task a gain g.
    2. A task's share is its Taylor softmax: 1 + g + g^2 / 2 over the sum of that of all tasks.
    3. Within a task, rows come in the greedy order of facility location on their prompts.

The authors fix a budget N, round the shares down, give what is over to the first tasks of the greedy
order one by one, cap each at the size of its task, and hand the excess to tasks with room, one row
each in turn. Here the tasks take weighted turns (curate.selectors.turns), so there is one ranking for
any budget, of rows or tokens, in which the first N rows hold each task's exact share to within one row;
what a task has no rows for goes to the others in proportion to their shares. So a task's count differs
from theirs by a row at most as long as no task is used up. They also split a task by its templates; an
origin is one group here.

Cost: prompts are embedded; then as facility location within each task.

Pitfalls: gains of graph cut grow with the number of tasks, so shares tend to g^2 for many. Its gains
are nearly linear, which is what keeps all tasks in; with facility location as f the first task takes
nearly everything. Singleton origins make every row a task: use `by: source` then.
"""

from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.fixedpoint import fixed_point
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.store import Artifact, Counts
from curate.models.neighbours.nearest import search_identity
from curate.selectors.facility import NEIGHBOURS, GreedyOrder, represent
from curate.selectors.groups import BY, By, group_evidence, read_groups
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.turns import interleave, weighted_round_robin
from curate.selectors.vectors import (
    PoolBlocks,
    PoolEmbeddings,
    VectorParams,
    embed_pool,
    read_pool_embeddings,
)
from curate.text.compared import Compared

VERSION = 3


@method
class SmartSelector(VectorParams):
    """Shares for tasks by graph cut, rows within a task by facility location."""

    title: ClassVar[str] = "SMART"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("by",)
    on_targets: ClassVar[str] = "within the range of random draws on all 8"
    rank_params: ClassVar[tuple[str, ...]] = ("tasks",)

    method: Literal["smart"] = "smart"
    compare: Compared = Field("prompt", description="what is embedded: rows, prompts or responses")
    by: By = Field("origin", description=f"what a task is: {BY}")
    tasks: int | None = Field(
        None,
        gt=0,
        description="how many tasks get a share, the best first; all if not given",
        examples=[20],
    )
    penalty: float = Field(
        0.4, ge=0, le=0.5, description="of similar tasks (lambda of graph cut); 0 ignores them"
    )
    neighbours: int = Field(
        NEIGHBOURS, gt=0, description="nearest rows of its task that can stand for a row"
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed the prompts, order the rows of each task, and store that with the gains of the tasks."""
        orders = run(
            write_orders,
            embed_pool(run, self.compare, self.embedder),
            rows=run.rows,
            by=self.by,
            evidence=group_evidence(run, self.by),
            neighbours=self.neighbours,
            **search_identity(run.kept.height),
        )
        return run(scores, orders, self.penalty)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers by weighted turns of the tasks; tasks without a share come last."""
        tasks = (
            scores.group_by("task")
            .agg(gain=pl.col("task_gain").first(), size=pl.len())
            .sort("gain", "task", descending=[True, False])
            .with_row_index("number")
        )
        weights = shares(tasks["gain"].to_numpy())
        weights[self.tasks or len(weights) :] = 0
        members = (
            scores.select("task", "place", row=pl.int_range(pl.len(), dtype=pl.Int64))
            .join(tasks, on="task")
            .sort("number", "place")
        )
        turns = weighted_round_robin(tasks["size"].to_numpy().astype(np.int64), weights)
        return interleave(turns, members["row"].to_numpy())


@cached_files(version=VERSION, name="smart-orders")
def write_orders(
    out: Path,
    embedded: PoolBlocks,
    rows: Table,
    by: By,
    neighbours: int,
    kernels: str | None = None,
    evidence: Table | None = None,
) -> Counts:
    """Write orders.parquet (row_id, task, place, gain, blank), means.npy: a vector a task by name.

    `kernels` are what the search computes with, as far as they can change the result.
    """
    pool = read_pool_embeddings(embedded)
    tasks = read_groups(rows, embedded.kept, by, evidence).sort("row_id")["group"]
    numbers = tasks.rank("dense").to_numpy().astype(np.int64) - 1
    order = np.argsort(numbers, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(numbers[order])) + 1)
    orders = [represent(pool.vectors[rows], neighbours) for rows in members]
    ordered = pl.concat(
        [_task_table(pool, tasks, *pair) for pair in zip(members, orders, strict=True)]
    )
    blank = pl.DataFrame({"row_id": pool.ids, "blank": pool.blank})
    frame = ordered.join(blank, on="row_id", how="left", maintain_order="left")
    frame.write_parquet(out / "orders.parquet")
    means = [pool.vectors[rows].mean(axis=0, dtype=np.float64) for rows in members]
    np.save(out / "means.npy", np.array(means), allow_pickle=False)
    recalls = [order.counts["recall"] for order in orders if order.counts]
    recall = {"recall": min(recalls)} if recalls else {}
    return {"rows_in": frame.height, "rows_out": frame.height, "tasks": len(means), **recall}


def _task_table(
    pool: PoolEmbeddings, tasks: pl.Series, members: NDArray[np.int64], order: GreedyOrder
) -> pl.DataFrame:
    """Return row_id, task, place and gain of the rows of one task, by their numbers."""
    chosen = members[order.rows]
    return pl.DataFrame(
        {
            "row_id": pool.ids.gather(chosen),
            "task": tasks.gather(chosen),
            "place": np.arange(1, len(members) + 1),
            "gain": order.gains,
        }
    )


@cached(version=VERSION, name="score-smart")
def scores(orders: Artifact, penalty: float) -> Counted[pl.DataFrame]:
    """Return row_id, score (gain within the task), nearest_id, task, place, task_gain."""
    ordered = Table(orders, "orders").read()
    means = Table(orders, "means").array()
    tasks = ordered["task"].unique().sort()
    gains = pl.DataFrame({"task": tasks, "task_gain": cut_gains(means, penalty)})
    frame = ordered.join(gains, on="task", how="left", maintain_order="left").select(
        "row_id",
        pl.col("gain").cast(pl.Float32).alias("score"),
        pl.lit(None, dtype=pl.String).alias("nearest_id"),
        "task",
        "place",
        "task_gain",
    )
    return Counted(blank_out(frame, ordered["blank"].to_numpy(), BLANK), {"tasks": len(tasks)})


def cut_gains(means: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    """Return what each task [M] adds to graph cut when its turn comes in the greedy order."""
    lengths = np.linalg.norm(means, axis=1, keepdims=True)
    units = fixed_point(means / np.where(lengths > 0, lengths, 1))

    def like(task: int) -> NDArray[np.float64]:
        # Never a matrix of all tasks with all: every row may be a task of its own.
        cosines: NDArray[np.float64] = units @ units[task]
        return np.maximum(cosines, 0)

    sums = np.array([like(task).sum() for task in range(len(units))])
    left = sums - penalty * (units**2).sum(axis=1)
    gains = np.empty(len(units))
    for _ in units:
        best = int(left.argmax())
        gains[best] = left[best]
        left -= 2 * penalty * like(best)
        left[best] = -np.inf
    return gains


def shares(gains: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Taylor softmax of second order."""
    worth = 1 + gains + gains**2 / 2
    softmax: NDArray[np.float64] = worth / worth.sum()
    return softmax
