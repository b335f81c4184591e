"""The order of a ranking cut into equal parts, the best-ranked first: rank 1 to 200, 201 to 400 ..."""

import polars as pl

from curate.core.reasons import Reason


def cut_order(ranking: pl.DataFrame, parts: int) -> pl.DataFrame:
    """Return the scored rows of a ranking in rank order, with the number of their part, from 1.

    Parts differ by one row at most. Rows without a score come last in the order of their ids, which
    says nothing: they are in no part.

    Args:
        ranking: rank, and reason where rows may have no score.
        parts: how many.
    """
    place = pl.int_range(pl.len(), dtype=pl.Int64)
    scored = scored_rows(ranking.lazy()).collect()
    return scored.sort("rank").with_columns(part=place * parts // pl.len() + 1)


def scored_rows(ranking: pl.LazyFrame) -> pl.LazyFrame:
    """Return the rows of a ranking that have a score: all but those of which it says so."""
    if "reason" not in ranking.collect_schema():
        return ranking
    return ranking.filter(pl.col("reason").ne_missing(Reason.UNSCORED.value))
