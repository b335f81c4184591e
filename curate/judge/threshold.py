"""Where confidence ends: the median of what is scored, or what a precision on labelled rows asks for."""

from typing import Literal

import polars as pl

from curate.core.errors import UserError


def median_or(threshold: Literal["median"] | float, scores: pl.Series) -> float:
    """Return a threshold that is given as a value or as the median of the scores that are not null."""
    if threshold != "median":
        return threshold
    ordered = scores.drop_nulls().sort().to_list()
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else sum(ordered[middle - 1 : middle + 1]) / 2)


def lowest_kept(scored: pl.DataFrame, precision: float) -> tuple[float, float | None]:
    """Return the lowest score from which on so large a share is correct, and the next lower one.

    Args:
        scored: score and correct, without nulls, and `weight` where rows were not drawn alike; equal
            scores stay or go together.
        precision: the share wanted of what is kept.

    Raises:
        UserError: there is no row, or no score reaches the share.
    """
    if not scored.height:
        raise UserError("labels: none of the labelled rows has a score; label some that have one")
    mass, right = pl.len(), pl.col("correct").sum()
    if "weight" in scored.columns:
        mass, right = pl.col("weight").sum(), pl.col("weight").filter("correct").sum()
    shares = (
        scored.group_by("score")
        .agg(rows=mass, correct=right)
        .sort("score", descending=True)
        .with_columns(share=pl.col("correct").cum_sum() / pl.col("rows").cum_sum())
        .with_columns(below=pl.col("score").shift(-1))
    )
    good = shares.filter(pl.col("share") >= precision)
    if not good.height:
        best = max(shares["share"].to_list())
        raise UserError(
            f"precision: no threshold keeps rows of which {precision:.4g} are correct; the best one "
            f"reaches {best:.4g}. Ask for less, or give a threshold instead"
        )
    lowest = good.row(-1, named=True)
    return lowest["score"], lowest["below"]
