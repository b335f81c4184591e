"""The order of a selection in equal parts, and how near each part comes to the target.

    part | first_rank | last_rank | rows | tokens | similarity | coverage | near | targets

`similarity` is that of a part's rows to the target example nearest to each, on average; `coverage` that
of the target examples to the nearest row of the part. `near` counts the examples that a row of the part
comes as near to as the limit of curate.selectors.coverage. All are cosines of whole rows' embeddings by
the run's own embedder, whatever the method ranks by. `tokens` is the mean of a row, null where none were
counted.

Ours, after the panel that selection-quality papers draw of fine-tunes: the same cut, without training.
Cost: as that of target coverage, whose vectors it reads.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.orderparts import cut_order, scored_rows
from curate.core.run import ScoreRun
from curate.models.neighbours.nearest import nearest
from curate.selectors.coverage import near_limit, nearest_rows
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
)

VERSION = 1
PARTS = 5
# Of a part: fewer rows say nothing of an order.
LEAST_ROWS = 2


def measure_quantiles(run: ScoreRun, ranking: Table, parts: int) -> Table | None:
    """Measure the parts of a selection's order; None where too few rows for so many have a score."""
    if scored_rows(ranking.scan()).select(pl.len()).collect().item() < parts * LEAST_ROWS:
        return None
    return run(quantiles, embed_pool_and_target(run), ranking, parts)


@cached(version=VERSION, name="quantiles")
def quantiles(embedded: PoolAndTarget, ranking: Table, parts: int) -> Counted[pl.DataFrame]:
    """Return a line for each part of the order, the best-ranked first; unscored rows are in none."""
    ids = embedded.kept.read(["row_id"])
    cut = cut_order(scored_rows(ranking.scan()).select("row_id", "rank", "tokens").collect(), parts)
    part = ids.join(cut.select("row_id", "part"), on="row_id", how="left", maintain_order="left")
    targets = read_target_embeddings(embedded)
    similarity = similarities(embedded, targets)
    chosen = {str(n): (part["part"] == n).fill_null(value=False).to_numpy() for n in _numbers(cut)}
    by_part = nearest_rows(embedded, targets, ids["row_id"], chosen)
    limit = near_limit(targets)
    described = [
        {
            "part": int(name),
            "similarity": float(similarity[mask].mean()),
            "coverage": float(by_part[name][1].mean()),
            "near": None if limit is None else int((by_part[name][1] >= limit).sum()),
            "targets": len(targets),
        }
        for name, mask in chosen.items()
    ]
    near = pl.DataFrame(described, schema_overrides={"near": pl.Int64})
    table = _ranks(cut).join(near, on="part").sort("part")
    return Counted(table, {"rows_in": ids.height, "rows_out": cut.height})


def _numbers(cut: pl.DataFrame) -> list[int]:
    return cut["part"].unique().sort().to_list()


def _ranks(cut: pl.DataFrame) -> pl.DataFrame:
    return cut.group_by("part").agg(
        first_rank=pl.col("rank").min(),
        last_rank=pl.col("rank").max(),
        rows=pl.len().cast(pl.Int64),
        tokens=pl.col("tokens").mean(),
    )


def similarities(embedded: PoolAndTarget, targets: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the cosine of each kept row with the target example nearest to it [N], in pool order."""
    blocks = iter_pool_embeddings(embedded)
    parts = [nearest(block, [targets], 1)[1][:, 0] for block in blocks]
    return np.concatenate(parts)
