"""k-center greedy: each next row is the one farthest from all rows chosen before it.

Gonzalez 1985, "Clustering to minimize the maximum intercluster distance"; as a selector of training
data Sener and Savarese 2018, arXiv:1708.00489. With unit vectors x:

    i* = argmax_i  min over chosen s of |x_i - x_s|        |x - y|^2 = 2 - 2 cos(x, y)

The covering radius (the largest distance of any row to its nearest chosen one) is at most twice the
smallest possible for as many rows. The first centre is the row nearest the mean of all. `limit` centres
are exact; what is left follows by its distance to them, farthest first, no longer pushing one another
away.

Cost: limit x rows x width multiplications. Only the rows that can be next are kept up to date after
every centre, the others now and then by a matrix product with all centres since: the same choice but
for rounding, many times faster.

Pitfalls: the farthest rows are outliers first of all, garbage among them, so clean and deduplicate
before. Texts without a known token have zero vectors; they are at distance 1 to everything but each
other.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import fixed_point
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.vectors import PoolBlocks, VectorParams, embed_pool, read_pool_embeddings

VERSION = 3
# Rows kept up to date after every centre: what a processor's cache holds.
ACTIVE_ROWS = 1_024
BLOCK_COSINES = 2_097_152
TAKEN = -1.0
DECIMALS = 12


@method
class KcenterSelector(VectorParams):
    """Rows that cover the pool: each as far as can be from those before it."""

    title: ClassVar[str] = "k-center"
    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "within the range of random draws on all 8"

    method: Literal["kcenter"] = "kcenter"
    limit: int = Field(
        10_000, gt=0, description="rows chosen greedily; the rest by distance to them"
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed the rows and store the greedy order of all of them."""
        return run(
            scores, embed_pool(run, self.compare, self.embedder), min(self.limit, run.kept.height)
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers in greedy order."""
        return scores["place"].arg_sort().to_numpy().astype(np.int64)


@dataclass(frozen=True)
class Centres:
    """Row numbers as chosen, each with the covering radius from then on, and what is left.

    `distance` [N] is that of every row to its nearest centre, 0 for centres.
    """

    rows: NDArray[np.int64]
    radius: NDArray[np.float64]
    distance: NDArray[np.float64]


@cached(version=VERSION, name="score-kcenter")
def scores(embedded: PoolBlocks, limit: int) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id, place, radius.

    score is the distance to the nearest row chosen before; radius is null beyond the greedy rows.
    """
    pool = read_pool_embeddings(embedded)
    centres = choose_centres(pool.vectors, limit)
    rest = np.argsort(-centres.distance, kind="stable")
    rest = rest[~np.isin(rest, centres.rows)]
    # A centre is as far from those before it as the radius was; the first has none before it.
    apart = np.concatenate([centres.radius[:1], centres.radius[:-1], centres.distance[rest]])
    frame = pl.DataFrame(
        {
            "row_id": pool.ids.gather(np.concatenate([centres.rows, rest])),
            "score": apart.astype(np.float32),
            "nearest_id": pl.Series([None] * len(apart), dtype=pl.String),
            "place": np.arange(1, len(apart) + 1),
            "radius": [*centres.radius.tolist(), *[None] * len(rest)],
        }
    )
    frame = blank_out(frame, pool.blank[np.concatenate([centres.rows, rest])], BLANK)
    radius = round(float(centres.radius[-1]), 6)
    return Counted(frame, {"centres": len(centres.rows), "radius": radius})


def choose_centres(
    vectors: NDArray[np.float32],
    limit: int,
    seeds: Sequence[int] = (),
    active: int = ACTIVE_ROWS,
) -> Centres:
    """Return the first `limit` rows of the greedy order; the first of equally far rows is taken.

    Args:
        vectors: unit or zero vectors [N, d].
        limit: how many, seeds included.
        seeds: rows chosen beforehand; the row nearest the mean if there are none.
        active: how many rows are kept up to date after every centre; this changes no choice.
    """
    points = fixed_point(vectors)
    squares = np.asarray(points.any(axis=1), dtype=np.float64)
    apart = np.full(len(points), np.inf)
    chosen: list[int] = []
    reach: list[float] = []
    # The mean is no unit vector: its products are exact to these digits alone.
    central = (points @ points.mean(axis=0)).round(DECIMALS)
    for seed in list(seeds) or [int(central.argmax())]:
        chosen.append(seed)
        reach.append(float(apart.max()))
        _approach(points, squares, apart, chosen[-1:])
    while len(chosen) < min(limit, len(vectors)):
        more, far = _farthest(points, squares, apart, limit - len(chosen), active)
        chosen += more
        reach += far
        _approach(points, squares, apart, more)
    radius = np.array([*reach[1:], max(float(apart.max()), 0.0)])
    return Centres(
        np.array(chosen, dtype=np.int64),
        np.sqrt(radius),
        np.sqrt(np.maximum(apart, 0)),
    )


def _approach(
    vectors: NDArray[np.float64],
    squares: NDArray[np.float64],
    apart: NDArray[np.float64],
    centres: list[int],
) -> None:
    """Lower the squared distance of every row to its nearest centre, for new centres."""
    new = vectors[centres]
    size = max(BLOCK_COSINES // len(centres), 1)
    for at in range(0, len(vectors), size):
        part = slice(at, at + size)
        far = (squares[centres] - 2 * (vectors[part] @ new.T)).min(axis=1) + squares[part]
        np.minimum(apart[part], np.maximum(far, 0), out=apart[part])
    apart[centres] = TAKEN


def _farthest(
    vectors: NDArray[np.float64],
    squares: NDArray[np.float64],
    apart: NDArray[np.float64],
    most: int,
    active: int,
) -> tuple[list[int], list[float]]:
    """Return the next centres, and how far each was, as long as they are among the farthest now.

    No row outside of these can be farther than the bound, since distances only shrink.
    """
    rank = max(len(apart) - active, 0)
    bound = np.partition(apart, rank)[rank]
    rows = np.flatnonzero(apart >= bound)
    inner, size, near = vectors[rows], squares[rows], apart[rows]
    chosen: list[int] = []
    far: list[float] = []
    while len(chosen) < most:
        best = int(near.argmax())
        if near[best] < bound or near[best] == TAKEN:
            break
        chosen.append(int(rows[best]))
        far.append(float(near[best]))
        np.minimum(near, np.maximum(size + size[best] - 2 * (inner @ inner[best]), 0), out=near)
        near[best] = TAKEN
        left = near >= bound
        if 2 * np.count_nonzero(left) < len(left):
            rows, inner, size, near = rows[left], inner[left], size[left], near[left]
            if not len(rows):
                break
    return chosen, far
