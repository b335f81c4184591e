"""How near each source is to the target examples, for the report of every run that has several.

    sources.parquet   group | rows | embedding | embedding_rank

The cosine of mean embeddings, the first measure of `sources` (curate.selectors.group_measures). Cost:
one reading of embeddings that other steps have made.
"""

import polars as pl

from curate.core.calls import Table, cached
from curate.core.run import ScoreRun
from curate.selectors.group_measures import (
    DECIMALS,
    MOST_GROUPS,
    group_codes,
    mean_cosines,
    rank_of,
    row_groups,
)
from curate.selectors.pool_target import PoolAndTarget, embed_pool_and_target

VERSION = 1


def measure_sources(run: ScoreRun) -> Table | None:
    """Return how near each source is; None where there is one alone, or more than can be compared."""
    count = run.rows.scan().select(pl.col("source").n_unique()).collect().item()
    if not 1 < count <= MOST_GROUPS:
        return None
    groups = run(row_groups, run.rows, run.kept, "source")
    return run(sources, groups, embed_pool_and_target(run))


@cached(version=VERSION, name="source-nearness")
def sources(groups: Table, embedded: PoolAndTarget) -> pl.DataFrame:
    """Return group, rows, embedding (null where nothing is known of its rows) and the rank by it."""
    names = groups.read(["group"])["group"]
    table = pl.DataFrame({"group": names}).group_by("group").agg(rows=pl.len()).sort("group")
    cosines = mean_cosines(embedded, group_codes(names), table.height)
    values = pl.Series("embedding", cosines).round(DECIMALS).fill_nan(None)
    return table.with_columns(values).with_columns(rank_of("embedding"))
