"""Facility location: rows that stand for the whole pool, each next one for what is least stood for.

    f(X) = sum over all rows i of  max over j in X of s_ij        s_ij = max(0, cos(x_i, x_j))

f is monotone and submodular, so taking the largest gain again and again reaches at least 1 - 1/e of
the best f for as many rows (Nemhauser, Wolsey and Fisher 1978). Gains only shrink, so a gain computed
earlier is a bound, and only rows whose bound is on top are computed anew: the lazy greedy of Minoux
1978, the same order as the plain one. As a selector of instruction data: Superfiltering.D (Li et al.
2024, arXiv:2402.00530) and, within tasks, SMART (Renduchintala et al. 2024).

A matrix of all with all has no place for a large pool, so a row counts only for rows that have it among
their `neighbours` nearest; everything else is 0. That is f for another s, with the same guarantee. The
nearest are exact up to 65,536 rows, beyond that they are those found in the nearest cells of an
inverted file, which misses a few: the share that it finds is measured on a sample (`recall`).

Cost: rows^2 x width multiplications for the neighbours (rows^1.5 with cells), then some gains for each
row of the order. Memory: 20 bytes for each of rows x neighbours, beside the vectors.

Pitfalls: gains follow density, so a cloud of near-copies is served first: deduplicate before. Rows with
few relatives come last, be they rare or rubbish. k-center does the opposite.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from heapq import heapify, heappop, heapreplace
from typing import ClassVar, Literal

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.models.neighbours.nearest import NearestRows, nearest_rows, search_identity
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.vectors import PoolBlocks, VectorParams, embed_pool, read_pool_embeddings

VERSION = 3
NEIGHBOURS = 64


@method
class FacilitySelector(VectorParams):
    """Rows that stand for as much of the pool as can be: facility location."""

    title: ClassVar[str] = "facility location"
    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "better than random draws on 1, worse on 1, within their range on 6"

    method: Literal["facility"] = "facility"
    neighbours: int = Field(
        NEIGHBOURS, gt=0, description="nearest rows that can stand for a row, itself included"
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed the rows and store the greedy order of all of them."""
        rows = run.kept.height
        neighbours = min(self.neighbours, rows)
        return run(
            scores,
            embed_pool(run, self.compare, self.embedder),
            neighbours,
            **search_identity(rows),
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in greedy order."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


@dataclass(frozen=True)
class GreedyOrder:
    """The greedy order of facility location: row numbers, and the gain in f of each.

    `counts` has the recall of the search for neighbours where it is not exact.
    """

    rows: NDArray[np.int64]
    gains: NDArray[np.float64]
    counts: Mapping[str, float] = field(default_factory=dict)


@cached(version=VERSION, name="score-facility")
def scores(
    embedded: PoolBlocks, neighbours: int, kernels: str | None = None
) -> Counted[pl.DataFrame]:
    """Return row_id, score (what the row added to f), nearest_id, place.

    `kernels` are what the search computes with, as far as they can change the result.
    """
    pool = read_pool_embeddings(embedded)
    order = represent(pool.vectors, neighbours)
    frame = pl.DataFrame(
        {
            "row_id": pool.ids.gather(order.rows),
            "score": order.gains.astype(np.float32),
            "nearest_id": pl.Series([None] * len(order.rows), dtype=pl.String),
            "place": np.arange(1, len(order.rows) + 1),
        }
    )
    return Counted(blank_out(frame, pool.blank[order.rows], BLANK), order.counts)


def represent(vectors: NDArray[np.float32], neighbours: int) -> GreedyOrder:
    """Return all rows in the greedy order; of equal gains, the first row's comes first.

    Args:
        vectors: unit or zero vectors [N, d].
        neighbours: how many rows can stand for a row, itself included.
    """
    near = nearest_rows(vectors, min(neighbours, len(vectors)))
    return replace(order_lazily(served_rows(near)), counts=near.counts)


def served_rows(near: NearestRows) -> "scipy.sparse.csc_array":
    """Return similarities [N, N], sparse by columns: what row j can do for the rows i near to it.

    A row stands for itself in full, also where as many equal ones were found before it.
    """
    rows = near.numbers.copy()
    count, width = rows.shape
    own = np.arange(count)[:, None]
    lacking = (rows != own).all(axis=1)
    rows[lacking, -1] = own[lacking, 0]
    values = np.where(rows == own, np.float32(1), np.maximum(near.cosines, 0))
    values[rows < 0] = 0
    columns = np.maximum(rows, 0).astype(np.int32).ravel()
    starts = np.arange(0, count * width + 1, width)
    return scipy.sparse.csr_array((values.ravel(), columns, starts), shape=(count, count)).tocsc()


def order_lazily(similarities: "scipy.sparse.csc_array") -> GreedyOrder:
    """Return all columns in the greedy order of facility location, and what each one adds."""
    starts, served, values = similarities.indptr, similarities.indices, similarities.data
    best = np.zeros(similarities.shape[0], dtype=np.float32)

    def gain(row: int) -> float:
        part = slice(starts[row], starts[row + 1])
        more = values[part] - best[served[part]]
        return float(np.maximum(more, 0).sum(dtype=np.float64))

    bounds = [(-gain(row), row) for row in range(len(best))]
    heapify(bounds)
    computed_at = [0] * len(best)
    rows: list[int] = []
    gains: list[float] = []
    while bounds:
        bound, row = bounds[0]
        if computed_at[row] < len(rows):
            computed_at[row] = len(rows)
            heapreplace(bounds, (-gain(row), row))
            continue
        heappop(bounds)
        rows.append(row)
        gains.append(-bound)
        part = slice(starts[row], starts[row + 1])
        best[served[part]] = np.maximum(best[served[part]], values[part])
    return GreedyOrder(np.array(rows, dtype=np.int64), np.array(gains))
