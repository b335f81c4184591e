"""How well a score tells right rows from wrong ones, and whether a probability means what it says.

AUROC is the chance that a right row scores higher than a wrong one, ties counted half. Its variance is
DeLong's (DeLong, DeLong and Clarke-Pearson 1988), from mid-ranks as Sun and Xu 2014 ("Fast
implementation of DeLong's algorithm") have it: exact and O(n log n), where all pairs would be O(n^2).
With m right rows, n wrong ones and mid-ranks R among all rows or among those of the same kind:

    V10_i = (R_all(i) - R_right(i)) / n       share of the wrong rows below right row i
    V01_j = 1 - (R_all(j) - R_wrong(j)) / m   share of the right rows above wrong row j
    AUROC = mean V10 = mean V01,  variance = var(V10) / m + var(V01) / n

Rows that were not drawn alike have weights: shares are then shares of weight, and each row's deviation
from the mean counts by its square, (sum of w^2 (V - mean)^2) / (sum of w)^2 for each kind.

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


def auroc(scores: Floats, right: Flags, weights: Floats | None = None) -> Auroc | None:
    """Return the area of finite scores; None if all rows are right or all are wrong."""
    m, n = int(right.sum()), int((~right).sum())
    if not m or not n:
        return None
    if weights is not None:
        return _weighted_auroc(scores, right, weights)
    ranks = scipy.stats.rankdata(scores)
    above = (ranks[right] - scipy.stats.rankdata(scores[right])) / n
    below = 1 - (ranks[~right] - scipy.stats.rankdata(scores[~right])) / m
    value = float(above.mean())
    if min(m, n) < 2:
        return Auroc(value, None, None)
    error = Z * float(np.sqrt(above.var(ddof=1) / m + below.var(ddof=1) / n))
    return Auroc(value, max(value - error, 0.0), min(value + error, 1.0))


def _weighted_auroc(scores: Floats, right: Flags, weights: Floats) -> Auroc:
    above = _weight_below(scores[right], scores[~right], weights[~right])
    below = 1 - _weight_below(scores[~right], scores[right], weights[right])
    value = float(np.average(above, weights=weights[right]))
    if min(len(above), len(below)) < 2:
        return Auroc(value, None, None)
    kinds = (above, weights[right]), (below, weights[~right])
    spreads = [((w * (v - value)) ** 2).sum() / w.sum() ** 2 for v, w in kinds]
    error = Z * float(np.sqrt(sum(spreads)))
    return Auroc(value, max(value - error, 0.0), min(value + error, 1.0))


def _weight_below(values: Floats, others: Floats, weights: Floats) -> Floats:
    """Return the share of weight of the others that lie below each value, equal ones counted half."""
    order = np.argsort(others, kind="stable")
    sums = np.concatenate([[0.0], np.cumsum(weights[order])])
    low = sums[np.searchsorted(others[order], values, "left")]
    high = sums[np.searchsorted(others[order], values, "right")]
    return np.asarray((low + high) / 2 / sums[-1])


def weighted_share(right: Flags, weights: Floats) -> tuple[float, float, float]:
    """Return the share of right rows and its 95 % interval by Wilson, of rows drawn with these weights.

    The weights take rows away: what counts is (sum of w)^2 / (sum of w^2) (Kish 1965).
    """
    share = float(np.average(right, weights=weights))
    size = float(weights.sum() ** 2 / (weights**2).sum())
    centre = (share + Z**2 / (2 * size)) / (1 + Z**2 / size)
    half = Z / (1 + Z**2 / size) * np.sqrt(share * (1 - share) / size + (Z / (2 * size)) ** 2)
    return share, max(float(centre - half), 0.0), min(float(centre + half), 1.0)


def brier(chances: Floats, right: Flags, weights: Floats | None = None) -> float:
    """Return the mean squared difference of probability and outcome."""
    squares = (chances - right) ** 2
    return float(np.mean(squares) if weights is None else np.average(squares, weights=weights))


def reliability(
    chances: Floats, right: Flags, weights: Floats | None = None, bins: int = BINS
) -> pl.DataFrame:
    """Return low, high, rows, confidence (mean) and right (share) of bins of about equal mass.

    Equal chances lie in the same bin, so that the order of rows plays no part; empty bins are left out.
    With weights, means are weighted, and the bins have their `weight`.
    """
    place = (pl.col("chance").rank("average") - 0.5) / pl.len() * bins
    columns = {"chance": chances, "right": right} | ({} if weights is None else {"w": weights})
    binned = pl.DataFrame(columns).with_columns(bin=place.floor().cast(pl.Int64))
    means = {
        "confidence": pl.col("chance").mean() if weights is None else _weighted_mean("chance"),
        "right": pl.col("right").mean() if weights is None else _weighted_mean("right"),
    }
    return (
        binned.group_by("bin")
        .agg(
            low=pl.col("chance").min(),
            high=pl.col("chance").max(),
            rows=pl.len().cast(pl.Int64),
            **{name: mean.round(DECIMALS) for name, mean in means.items()},
            **({} if weights is None else {"weight": pl.col("w").sum().round(DECIMALS)}),
        )
        .sort("bin")
        .drop("bin")
    )


def _weighted_mean(name: str) -> pl.Expr:
    return (pl.col(name) * pl.col("w")).sum() / pl.col("w").sum()


def calibration_error(table: pl.DataFrame) -> float:
    """Return the mean distance of confidence and share of right rows over the bins, by their mass."""
    mass = pl.col("weight" if "weight" in table.columns else "rows")
    gaps = (pl.col("confidence") - pl.col("right")).abs() * mass
    return float(table.select(gaps.sum() / mass.sum()).item())
