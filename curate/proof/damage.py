"""Collateral damage by bins: where does tuning make wrong what was right, and how many rows are drawn?

A bin is an origin (else a source) and a third of the losses of the base. Of n probe rows that the base
gets right and w of which the tuned model gets wrong, its rate of damage with the prior Beta(1/2, 1/2) is

    alpha = (w + 1/2) / (n + 1)

so that a bin without a probe row has 1/2. A bin's budget is proportional to alpha times its rows that
the base gets right, and no larger than these.
"""

import numpy as np
import polars as pl
from numpy.typing import NDArray

THIRDS = ("low", "middle", "high")
PRIOR = 0.5
# Behind the run's seed.
PROBE_SEED, DRAW_SEED, RANDOM_SEED = 0x9A0BE, 0xD2A3, 0x2A4D


def bin_names(rows: pl.DataFrame) -> pl.Series:
    """Return the bin of each row; null for one without a loss.

    Args:
        rows: source, origin, loss.
    """
    measured = rows["loss"].drop_nulls().to_numpy()
    limits = np.quantile(measured, [1 / 3, 2 / 3]) if measured.size else [0.0, 0.0]
    loss = pl.col("loss")
    third = (
        pl.when(loss.is_null())
        .then(None)
        .when(loss <= limits[0])
        .then(pl.lit(THIRDS[0]))
        .when(loss <= limits[1])
        .then(pl.lit(THIRDS[1]))
        .otherwise(pl.lit(THIRDS[2]))
    )
    group = pl.coalesce("origin", "source")
    return rows.select(bin=pl.concat_str(group, pl.lit(": "), third, pl.lit(" loss")))["bin"]


def take_turns(bins: pl.Series, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """Return the numbers of rows drawn at random, as many from each bin as far as it has them.

    Args:
        bins: of the rows.
        count: how many to draw.
        rng: draws.
    """
    shuffled = rng.permutation(len(bins))
    turns = pl.DataFrame({"bin": bins[shuffled], "at": shuffled}).with_columns(
        turn=pl.int_range(pl.len()).over("bin")
    )
    drawn = turns.sort("turn", maintain_order=True).head(count)
    return np.sort(drawn["at"].to_numpy())


def damage_rates(probed: NDArray[np.int64], wrong: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return each bin's rate of damage, alpha.

    Args:
        probed: probe rows of the bin.
        wrong: those of them that the tuned model gets wrong.
    """
    return (wrong + PRIOR) / (probed + 2 * PRIOR)


def bin_budgets(
    rates: NDArray[np.float64], rows: NDArray[np.int64], total: int
) -> NDArray[np.int64]:
    """Return how many rows each bin gives: in proportion to rate times rows, and never more than it has.

    What a bin cannot give goes to the others. The sum is `total`, or all rows where there are fewer.
    """
    shares, left = np.zeros(len(rows)), float(min(total, rows.sum()))
    free = rows > 0
    while free.any() and left > 0:
        weights = np.where(free, rates * rows, 0.0)
        offered = left * weights / weights.sum()
        full = free & (offered >= rows)
        if not full.any():
            shares += offered
            break
        shares[full] = rows[full]
        left -= float(rows[full].sum())
        free &= ~full
    return _whole(shares, rows, int(min(total, rows.sum())))


def _whole(shares: NDArray[np.float64], rows: NDArray[np.int64], total: int) -> NDArray[np.int64]:
    """Return shares as whole numbers of that sum, by largest remainders."""
    budgets = np.floor(shares + 1e-9).astype(np.int64)
    remainders = np.where(budgets < rows, shares - budgets, -1.0)
    largest = np.argsort(-remainders, kind="stable")[: total - int(budgets.sum())]
    budgets[largest] += 1
    return budgets


def draw_in_bins(
    bins: pl.Series, budgets: dict[str, int], rng: np.random.Generator
) -> NDArray[np.int64]:
    """Return the numbers of rows drawn at random inside bins, as many as each one's budget.

    Args:
        bins: of the rows.
        budgets: of bins.
        rng: draws.
    """
    shuffled = rng.permutation(len(bins))
    places = pl.DataFrame({"bin": bins[shuffled], "at": shuffled}).with_columns(
        place=pl.int_range(pl.len()).over("bin"),
        budget=pl.col("bin").replace_strict(budgets, default=0, return_dtype=pl.Int64),
    )
    return np.sort(places.filter(pl.col("place") < pl.col("budget"))["at"].to_numpy())
