"""How well a score tells right rows from wrong ones, and whether a probability means what it says.

AUROC is the chance that a right row scores higher than a wrong one, ties counted half. Its variance is
DeLong's (DeLong, DeLong and Clarke-Pearson 1988), from mid-ranks as Sun and Xu 2014 ("Fast
implementation of DeLong's algorithm") have it: exact and O(n log n), where all pairs would be O(n^2).
With m right rows, n wrong ones and mid-ranks R among all rows or among those of the same kind:

    V10_i = (R_all(i) - R_right(i)) / n       share of the wrong rows below right row i
    V01_j = 1 - (R_all(j) - R_wrong(j)) / m   share of the right rows above wrong row j
    AUROC = mean V10 = mean V01,  variance = var(V10) / m + var(V01) / n

The interval is AUROC +- 1.96 standard errors, cut to 0 and 1; of a perfect order it has no width,
however few rows there are. The expected calibration error has bins of equal mass (Nguyen and O'Connor
2015, arXiv:1508.05154): those of equal width leave most bins nearly empty.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl
import scipy
from numpy.typing import NDArray

BINS = 10
# Beyond these, a mean says by how many threads it was added up.
DECIMALS = 12
Z = 1.959963984540054

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Auroc:
    """The area and its 95 % interval, which is None with fewer than two rows of a kind."""

    value: float
    low: float | None
    high: float | None


def auroc(scores: Floats, right: Flags) -> Auroc | None:
    """Return the area of finite scores; None if all rows are right or all are wrong."""
    m, n = int(right.sum()), int((~right).sum())
    if not m or not n:
        return None
    ranks = scipy.stats.rankdata(scores)
    above = (ranks[right] - scipy.stats.rankdata(scores[right])) / n
    below = 1 - (ranks[~right] - scipy.stats.rankdata(scores[~right])) / m
    value = float(above.mean())
    if min(m, n) < 2:
        return Auroc(value, None, None)
    error = Z * float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    return Auroc(value, max(value - error, 0.0), min(value + error, 1.0))


def brier(chances: Floats, right: Flags) -> float:
    """Return the mean squared difference of probability and outcome."""
    return float(np.mean((chances - right) ** 2))


def reliability(chances: Floats, right: Flags, bins: int = BINS) -> pl.DataFrame:
    """Return low, high, rows, confidence (mean) and right (share) of bins of about equal mass.

    Equal chances lie in the same bin, so that the order of rows plays no part; empty bins are left out.
    """
    place = (pl.col("chance").rank("average") - 0.5) / pl.len() * bins
    binned = pl.DataFrame({"chance": chances, "right": right}).with_columns(
        bin=place.floor().cast(pl.Int64)
    )
    return (
        binned.group_by("bin")
        .agg(
            low=pl.col("chance").min(),
            high=pl.col("chance").max(),
            rows=pl.len().cast(pl.Int64),
            confidence=pl.col("chance").mean().round(DECIMALS),
            right=pl.col("right").mean().round(DECIMALS),
        )
        .sort("bin")
        .drop("bin")
    )


def calibration_error(table: pl.DataFrame) -> float:
    """Return the mean distance of confidence and share of right rows over the bins, by their rows."""
    gaps = (pl.col("confidence") - pl.col("right")).abs() * pl.col("rows")
    return float(table.select(gaps.sum() / pl.col("rows").sum()).item())
