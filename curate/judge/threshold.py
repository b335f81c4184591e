"""Where confidence ends: the median of what is scored, or what a precision on labelled rows asks for."""

import math
from typing import Literal

import polars as pl

from curate.errors import UserError


def median_or(threshold: Literal["median"] | float, scores: pl.Series) -> float:
    """Return a threshold that is given as a value or as the median of the scores that are not null."""
    if threshold != "median":
        return threshold
    ordered = scores.drop_nulls().sort().to_list()
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else sum(ordered[middle - 1 : middle + 1]) / 2)


def threshold_for(scores: pl.DataFrame, labels: pl.DataFrame, precision: float) -> float:
    """Return the lowest threshold above which so large a share of the labelled rows is correct.

    Args:
        scores: row_id and score; rows without a score play no part.
        labels: row_id and correct.
        precision: the share wanted of what is kept.

    Raises:
        UserError: no labelled row has a score, or no threshold reaches the share.
    """
    known = (
        scores.drop_nulls("score")
        .join(labels, on="row_id")
        .group_by("score")
        .agg(pl.len().alias("rows"), pl.col("correct").sum())
        .sort("score", descending=True)
        .with_columns(share=pl.col("correct").cum_sum() / pl.col("rows").cum_sum())
    )
    if not known.height:
        raise UserError("labels: none of the labelled rows has a score; label some that have one")
    good = known.with_row_index("at").filter(pl.col("share") >= precision)["at"]
    if not len(good):
        best = max(known["share"].to_list())
        raise UserError(
            f"precision: no threshold keeps rows of which {precision:.4g} are correct; the best one "
            f"reaches {best:.4g}. Ask for less, or give a threshold instead"
        )
    ordered, last = known["score"].to_list(), int(good[-1])
    # Rows stay if they score more, so it is the next score below, or a hair below the lowest.
    return float(
        ordered[last + 1] if last + 1 < len(ordered) else math.nextafter(ordered[last], -1)
    )
