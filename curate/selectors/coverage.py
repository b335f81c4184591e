"""Target coverage: how near to each target example the rows come that a selection holds.

    coverage.parquet   name | target_id | row_id | similarity | kept_id | kept_similarity | limit | state

Similarity is the cosine of whole rows' embeddings by the run's own embedder, one yardstick for all
methods whatever they rank by. `row_id` is the nearest selected row, `kept_id` the nearest of all rows
that there were to choose from.

A target example is thin where its nearest selected row is less similar than `limit`: the similarity
that all but a tenth of the target examples reach with the nearest other one (equal ones count as one).
So the target itself says what is near, in the units of the embedder, and a selection that is as dense
around it as the target is has a tenth of thin examples. A thin example was `missed` if the pool has a
row within the limit, else it is a `gap` of the pool, which no selection can fill. Where all examples
are one and the same there is no limit, and `state` is null.

Cost: one pass of the embedder over the rows, shared with other steps; then rows x examples x width.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.core.run import ScoreRun
from curate.models.neighbours.nearest import nearest
from curate.selectors.comparison import KEPT
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
)

VERSION = 2
# The share of target examples whose nearest other one may be below the limit.
OUTLYING = 0.1
BLOCK_ROWS = 8_192
# Equal texts get equal similarities: where a row lies in a block moves the last digits of a product.
DECIMALS = 6
SAME = 1 - 1e-5

Matrix = NDArray[np.float32]
Cosines = NDArray[np.float64]


def measure_coverage(run: ScoreRun, rankings: Mapping[str, Table]) -> Table:
    """Measure selections, by their names, the run's own first, against the target examples."""
    embedded = embed_pool_and_target(run)
    return run(coverage, embedded, dict(rankings))


@cached(version=VERSION, name="coverage")
def coverage(embedded: PoolAndTarget, rankings: Mapping[str, Table]) -> Counted[pl.DataFrame]:
    """Return a line for each selection and target example, in their order."""
    ids = embedded.kept.read(["row_id"])
    chosen = {KEPT: np.ones(ids.height, dtype=np.bool_)}
    for name, ranking in rankings.items():
        selected = ranking.read(["row_id", "selected"])
        aligned = ids.join(selected, on="row_id", how="left", maintain_order="left")
        chosen[name] = aligned["selected"].fill_null(value=False).to_numpy()
    target_embeddings = read_target_embeddings(embedded)
    targets = embedded.target.read(["row_id"])["row_id"]
    nearest_by_name = nearest_rows(embedded, target_embeddings, ids["row_id"], chosen)
    limit = near_limit(target_embeddings)
    lines = [
        _lines(name, targets, nearest_by_name[name], nearest_by_name[KEPT], limit)
        for name in rankings
    ]
    table = pl.concat(lines)
    thin = lines[0].filter(pl.col("state").is_in(["missed", "gap"])).height
    counts = {"rows_in": ids.height, "rows_out": ids.height, "targets": len(targets), "thin": thin}
    return Counted(table, counts)


def nearest_rows(
    embedded: PoolAndTarget,
    target_embeddings: Matrix,
    ids: pl.Series,
    chosen: Mapping[str, NDArray[np.bool_]],
) -> dict[str, tuple[pl.Series, Cosines]]:
    """Return for each set of kept rows the nearest of them to every target example, and how near.

    Of equally near rows it is the one with the smallest id.
    """
    place = ids.rank("ordinal").to_numpy().astype(np.int64) - 1
    by_id = ids.sort()
    best: dict[str, tuple[pl.Series, Cosines]] = {}
    for name, mask in chosen.items():
        blocks, places = _blocks_of(embedded, mask), place[mask]
        numbers, cosines = nearest(target_embeddings, blocks, 1, places=places)
        rows = pl.Series(numbers[:, 0] if numbers.size else [None] * len(numbers), dtype=pl.Int64)
        similarity = cosines[:, 0] if cosines.size else np.full(len(cosines), -np.inf)
        best[name] = by_id.gather(rows), similarity
    return best


def _blocks_of(embedded: PoolAndTarget, mask: NDArray[np.bool_]) -> Iterator[Matrix]:
    """Yield the embeddings of a set of the kept rows, in pool order."""
    start = 0
    for block in iter_pool_embeddings(embedded):
        yield block[mask[start : start + len(block)]]
        start += len(block)
    if start != len(mask):
        raise ValueError(f"{len(mask)} rows are kept, but {start} vectors are there")


def near_limit(target_embeddings: Matrix) -> float | None:
    """Return what the target's examples call near; None if they are fewer than two different ones."""
    similar = np.full(len(target_embeddings), -np.inf, dtype=np.float32)
    for at in range(0, len(target_embeddings), BLOCK_ROWS):
        block = (
            cosines(target_embeddings[at : at + BLOCK_ROWS], target_embeddings)
            .round(DECIMALS)
            .astype(np.float32)
        )
        # An example is no other one than its copies, itself included.
        block[block >= SAME] = -np.inf
        similar[at : at + BLOCK_ROWS] = block.max(axis=1, initial=-np.inf)
    finite = np.sort(similar[np.isfinite(similar)])
    return (
        round(float(finite[int(OUTLYING * (len(finite) - 1))]), DECIMALS) if len(finite) else None
    )


def _lines(
    name: str,
    targets: pl.Series,
    nearest_chosen: tuple[pl.Series, Cosines],
    nearest_kept: tuple[pl.Series, Cosines],
    limit: float | None,
) -> pl.DataFrame:
    near = pl.lit(limit, dtype=pl.Float64)
    return pl.DataFrame(
        {
            "name": pl.repeat(name, len(targets), eager=True),
            "target_id": targets,
            "row_id": nearest_chosen[0],
            "similarity": nearest_chosen[1],
            "kept_id": nearest_kept[0],
            "kept_similarity": nearest_kept[1],
        }
    ).with_columns(
        limit=near,
        state=pl.when(pl.col("similarity") >= near)
        .then(pl.lit("near"))
        .when(pl.col("kept_similarity") >= near)
        .then(pl.lit("missed"))
        .when(near.is_not_null())
        .then(pl.lit("gap")),
    )
