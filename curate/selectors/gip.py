"""GIP, greedy information projection: rows whose span holds as much of the target as can be.

Greedy Information Projection, 2026, arXiv:2603.13790. Of that its abstract was to be had: maximise the
information between a subset's embeddings and the queries' under a joint Gaussian, which is the share of
the queries that the span of the subset holds; by matching pursuit. What follows is derived from it.
With unit rows x_i, target examples as the columns of Q, and P_S the projection onto the span of S

    F(S) = |P_S Q|^2        gain of i = |max(0, x_i' Q')|^2 / |x_i'|^2
    x_i' = (1 - P_S) x_i    Q' = (1 - P_S) Q

the row of the largest gain is next. So a row counts for what it adds: relevance and diversity by one
formula, without a weight between them. The maximum with 0 is ours: squared, the opposite of an example
would be worth as much as the example.

    Q = (1, 0), (.8, .6); rows a = (1, 0), b = (.96, .28), c = (0, 1). Gains: a 1.64, b 1.80, c .36;
    b is first. What is left of Q is (.08, -.27), (-.10, .34), of a (.08, -.27) and of c (-.27, .92):
    gains .08 and .12, so c is next, although a is nearer to both examples.

After as many picks as the space has dimensions the span is everything, and all gains are 0. Then, or
where the largest gain is below 1e-6 of the first, another round begins: with the rows that are left, and
with all of Q. Beyond `limit` greedy rows the rest follows by what each would add alone.

Cost: limit x rows x (width + examples). Pitfalls: gains are not submodular, so a later pick may add more
than an earlier one; a copy of a row adds nothing in its round and comes first in the next, so
deduplicate before.
"""

from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import fixed_point
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    read_target_embeddings,
)
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.similarities import DECIMALS
from curate.selectors.vectors import VectorParams, read_pool_embeddings

VERSION = 1
# Of the first gain: below it the queries are spent, and a round ends.
SPENT = 1e-6
# What is left of a row that the span holds already: its direction is rounding.
LEAST_LEFT = 1e-6


@method
class GipSelector(VectorParams):
    """Rows that together span the target examples, each counted for what it adds."""

    title: ClassVar[str] = "greedy information projection"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True

    method: Literal["gip"] = "gip"
    limit: int = Field(
        2_000, gt=0, description="rows chosen greedily; the rest by what each adds alone"
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed pool and target, and store the greedy order of all rows."""
        embedded = embed_pool_and_target(run, self.compare, self.embedder)
        return run(scores, embedded, min(self.limit, run.kept.height))

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in greedy order."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


@cached(version=VERSION, name="score-gip")
def scores(embedded: PoolAndTarget, limit: int) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id, place, round.

    score is a row's gain when it was chosen, in target examples; round is null beyond the greedy rows.
    """
    pool = read_pool_embeddings(embedded)
    target = read_target_embeddings(embedded)
    picks = choose_rows(pool.vectors, target, limit)
    alone = gains_alone(pool.vectors, target)
    rest = np.argsort(-alone, kind="stable")
    chosen = np.array(picks.rows, dtype=np.int64)
    order = np.concatenate([chosen, rest[~np.isin(rest, chosen)]])
    nearest = fixed_point(pool.vectors)[order] @ fixed_point(target).T
    further = len(order) - len(picks.rows)
    frame = pl.DataFrame(
        {
            "row_id": pool.ids.gather(order),
            "score": np.concatenate([picks.gains, alone[order[len(picks.rows) :]]]),
            "nearest_id": embedded.target.read(["row_id"])["row_id"].gather(nearest.argmax(axis=1)),
            "place": np.arange(1, len(order) + 1),
            "round": [*picks.rounds, *[None] * further],
        },
        schema_overrides={"round": pl.Int32},
    )
    frame = blank_out(frame, pool.blank[order] | ~target.any(), BLANK)
    return Counted(frame, {"greedy": len(picks.rows), "rounds": max(picks.rounds, default=0)})


@dataclass
class Picks:
    """Row numbers as chosen, the gain of each when it was, and the round."""

    rows: list[int] = field(default_factory=list)
    gains: list[float] = field(default_factory=list)
    rounds: list[int] = field(default_factory=list)


def gains_alone(vectors: NDArray[np.floating], target: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return what each row [N] would add as the only one."""
    cosines = np.maximum(fixed_point(vectors) @ fixed_point(target).T, 0)
    gains: NDArray[np.float64] = np.einsum("nq,nq->n", cosines, cosines).round(DECIMALS)
    return gains


def choose_rows(vectors: NDArray[np.floating], target: NDArray[np.floating], limit: int) -> Picks:
    """Return the greedy order of at most `limit` rows; of equal gains the smaller row number is first.

    Args:
        vectors: unit or zero vectors [N, d].
        target: unit vectors [Q, d].
        limit: how many.
    """
    points, queries = fixed_point(vectors), fixed_point(target)
    left = np.flatnonzero(points.any(axis=1))
    picks = Picks()
    number = 1
    while len(picks.rows) < limit and len(left):
        before = len(picks.rows)
        _add_round(picks, points, queries, left, number, limit)
        if len(picks.rows) == before:
            break
        left = np.setdiff1d(left, picks.rows[before:])
        number += 1
    return picks


def _add_round(
    picks: Picks,
    points: NDArray[np.float64],
    queries: NDArray[np.float64],
    rows: NDArray[np.int64],
    number: int,
    limit: int,
) -> None:
    """Add picks until the queries are spent, the span is everything, or there are enough."""
    inner = points[rows]
    residual = Residual(inner @ queries.T, np.einsum("nd,nd->n", inner, inner), queries)
    first = 0.0
    while len(picks.rows) < limit:
        gains = residual.gains()
        best = int(gains.argmax())
        if gains[best] <= SPENT * first or gains[best] == 0:
            return
        first = first or float(gains[best])
        picks.rows.append(int(rows[best]))
        picks.gains.append(float(gains[best]))
        picks.rounds.append(number)
        residual.take(best, inner)


@dataclass
class Residual:
    """What rows and target examples have outside the span of the rows chosen so far.

    Attributes:
        products: of rows and examples [N, Q], both outside the span.
        squares: lengths of the rows outside it, squared [N].
        queries: the examples outside it [Q, d].
        basis: orthonormal vectors of the span.
    """

    products: NDArray[np.float64]
    squares: NDArray[np.float64]
    queries: NDArray[np.float64]
    basis: list[NDArray[np.float64]] = field(default_factory=list)

    def gains(self) -> NDArray[np.float64]:
        """Return what each row would add [N]; 0 for one that the span holds."""
        forward = np.maximum(self.products, 0)
        squared = np.einsum("nq,nq->n", forward, forward)
        inside = self.squares < LEAST_LEFT
        gains: NDArray[np.float64] = squared / np.where(inside, 1, self.squares)
        return np.where(inside, 0, gains).round(DECIMALS)

    def take(self, row: int, vectors: NDArray[np.float64]) -> None:
        """Add a row to the span. Long sums are of fixed points, so exact: see curate.core.fixedpoint."""
        outside = vectors[row]
        if self.basis:
            span = np.stack(self.basis)
            outside = outside - np.einsum("b,bd->d", span @ outside, span)
        direction = fixed_point(outside / np.sqrt(np.einsum("d,d->", outside, outside)))
        self.basis.append(direction)
        along = vectors @ direction
        shares = fixed_point(self.queries) @ direction
        self.products -= np.outer(along, shares)
        self.queries = self.queries - np.outer(shares, direction)
        self.squares = np.maximum(self.squares - along**2, 0)
        self.squares[row] = 0
