"""The draw of a rehearsal: which rows are mixed in, by the damage of their bins or by chance, and why.

rehearsal.parquet    row_id, source, origin, bin, loss, right, probed, wrong, fate, reason, random
bins.parquet         bin, rows, right, probed, wrong, alpha, budget
rehearsed.parquet    the rows that are mixed in
random.parquet       as many rows drawn by chance, for the proof
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, TableGroup, cached_files
from curate.core.store import Counts
from curate.proof.damage import (
    DRAW_SEED,
    RANDOM_SEED,
    bin_budgets,
    damage_rates,
    draw_in_bins,
)
from curate.proof.prior_readings import RowReadings, judge_rows

VERSION = 2
# Nats a response token.
RISE = 0.1
MEASURED = {
    "loss": pl.Float64(),
    "right": pl.Boolean(),
    "bin": pl.String(),
    "probed": pl.Boolean(),
    "wrong": pl.Boolean(),
}
BINS = pl.Schema(
    {
        "bin": pl.String(),
        "rows": pl.Int64(),
        "right": pl.Int64(),
        "probed": pl.Int64(),
        "wrong": pl.Int64(),
        "alpha": pl.Float64(),
        "budget": pl.Int64(),
    }
)
# What becomes of a row.
REHEARSED, NOT_DRAWN, WRONG_BEFORE = "rehearsed", "not_drawn", "wrong_before"
UNREAD, DROPPED = "unread", "dropped"


@dataclass(frozen=True)
class DamageProbe(TableGroup):
    """What the base makes of the rows, and what a fine-tune makes of some of them."""

    state: Table
    probe: Table
    losses: Table
    answers: Table | None = None


@cached_files(version=VERSION, name="rehearsal")
def write_rehearsal(
    out: Path,
    prior: Table,
    allowed: Table,
    budget: int,
    seed: int,
    probe: DamageProbe | None = None,
) -> Counts:
    """Write what is mixed in, and why.

    Args:
        out: the folder.
        prior: the rows to draw from.
        allowed: which of them may be drawn.
        budget: how many rows are to be drawn.
        seed: of the run.
        probe: what models make of them; None draws at random.
    """
    if probe is None:
        table = _unmeasured(prior.read(["row_id", "source", "origin"]), allowed.read())
        by_chance = _draw_any(table, budget, seed)
        table, bins = (
            table.with_columns(random=by_chance, drawn=by_chance),
            pl.DataFrame(schema=BINS),
        )
    else:
        table = with_damage(_candidates(probe.state.read(), allowed.read()), probe)
        bins = damage_by_bin(table, budget)
        drawn = _draw(table, bins, seed)
        # Fewer than the budget where the base gets fewer right: as many by chance are compared.
        by_chance = _draw_any(table, int(drawn.sum()), seed)
        table = table.with_columns(random=by_chance, drawn=drawn)
    with_fates(table, bins).write_parquet(out / "rehearsal.parquet")
    bins.write_parquet(out / "bins.parquet")
    for name, column in (("rehearsed", "drawn"), ("random", "random")):
        ids = table.lazy().filter(column).select("row_id")
        part = prior.scan().join(ids, on="row_id", how="semi", maintain_order="left")
        part.collect().write_parquet(out / f"{name}.parquet")
    return _count(table, budget)


def with_damage(table: pl.DataFrame, probe: DamageProbe) -> pl.DataFrame:
    """Return candidates with probed, and wrong (null for rows that are not probed)."""
    read = judge_rows(
        probe.probe.read(["row_id", "messages"]), RowReadings(probe.losses, probe.answers)
    )
    after = read.select("row_id", "by_value", tuned_loss="loss", probed=pl.lit(value=True))
    rise = pl.col("tuned_loss") - pl.col("loss")
    wrong = pl.when("probed").then(
        pl.coalesce(~pl.col("by_value"), (rise > RISE).fill_null(value=True))
    )
    joined = table.join(after, on="row_id", how="left", maintain_order="left").with_columns(
        pl.col("probed").fill_null(value=False)
    )
    return joined.with_columns(wrong=wrong).drop("tuned_loss", "by_value")


def damage_by_bin(table: pl.DataFrame, budget: int) -> pl.DataFrame:
    """Return bin, rows, right, probed, wrong, alpha and budget of each bin, by its name."""
    free = table.filter(pl.col("reason").is_null(), pl.col("bin").is_not_null())
    sums = pl.col("right", "probed", "wrong").sum().cast(pl.Int64)
    bins = free.group_by("bin").agg(pl.len().cast(pl.Int64).alias("rows"), sums).sort("bin")
    rates = damage_rates(bins["probed"].to_numpy(), bins["wrong"].to_numpy())
    budgets = bin_budgets(rates, bins["right"].to_numpy(), budget)
    return bins.with_columns(alpha=pl.Series(rates), budget=pl.Series(budgets))


def with_fates(table: pl.DataFrame, bins: pl.DataFrame) -> pl.DataFrame:
    """Return rows with what became of each, and the reason, in place of `drawn`."""
    right, drawn = pl.col("right"), pl.col("drawn")
    fate = (
        pl.when(drawn)
        .then(pl.lit(REHEARSED))
        .when(pl.col("reason").is_not_null())
        .then(pl.lit(DROPPED))
        .when(pl.col("bin").is_null() & pl.lit(bins.height > 0))
        .then(pl.lit(UNREAD))
        .when(right.eq_missing(other=False))
        .then(pl.lit(WRONG_BEFORE))
        .otherwise(pl.lit(NOT_DRAWN))
    )
    why = bins.select(
        "bin",
        why=pl.format(
            "{}: {} of {} probe rows forgotten, {} of {} rows drawn",
            "bin", "wrong", "probed", "budget", "right",
        ),
    )  # fmt: skip
    joined = table.join(why, on="bin", how="left", maintain_order="left").with_columns(fate=fate)
    chance = pl.when(drawn).then(pl.lit("drawn at random"))
    reasoned = joined.with_columns(reason=pl.coalesce("reason", pl.when(drawn).then("why"), chance))
    return reasoned.select(
        "row_id", "source", "origin", "bin", "loss", "right", "probed", "wrong", "fate", "reason",
        "random",
    )  # fmt: skip


def _candidates(state: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    return state.join(allowed, on="row_id", how="left", maintain_order="left")


def _unmeasured(rows: pl.DataFrame, allowed: pl.DataFrame) -> pl.DataFrame:
    """Return candidates that no model has read."""
    empty = {name: pl.lit(None, dtype=dtype) for name, dtype in MEASURED.items()}
    return _candidates(rows.with_columns(**empty), allowed)


def _draw_any(table: pl.DataFrame, budget: int, seed: int) -> pl.Series:
    """Return which rows a draw from all that may be drawn takes; of those read, if models read them."""
    free = table["reason"].is_null().to_numpy()
    if table["loss"].null_count() < table.height:
        free &= table["loss"].is_not_null().to_numpy()
    order = np.random.default_rng([seed, RANDOM_SEED]).permutation(np.flatnonzero(free))
    return _flags(table.height, order[:budget])


def _draw(table: pl.DataFrame, bins: pl.DataFrame, seed: int) -> pl.Series:
    """Return which rows are drawn inside the bins."""
    at = np.flatnonzero(
        table.select(pl.col("reason").is_null() & pl.col("right").fill_null(value=False))
        .to_series()
        .to_numpy()
    )
    budgets = dict(bins.select("bin", "budget").iter_rows())
    rng = np.random.default_rng([seed, DRAW_SEED])
    return _flags(table.height, at[draw_in_bins(table["bin"][at], budgets, rng)])


def _flags(height: int, at: NDArray[np.int64]) -> pl.Series:
    flags = np.zeros(height, dtype=np.bool_)
    flags[at] = True
    return pl.Series(flags)


def _count(table: pl.DataFrame, budget: int) -> Counts:
    probed = int(table["probed"].sum() or 0)
    return {
        "rows_in": table.height,
        "rows_out": int(table["drawn"].sum()),
        "budget": budget,
        "probed": probed,
        "wrong": int(table["wrong"].sum() or 0),
        "kept_out": dict(
            table.drop_nulls("reason").group_by("reason").len().sort("reason").iter_rows()
        ),
    }
