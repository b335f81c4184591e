"""What the parts of an order say: does a model do better with rows that rank higher, in a sentence."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from curate.core.keyed import KeyedRecord
from curate.proof.described import PartValues, QuantileValues
from curate.proof.metrics import Metric
from curate.proof.permutation import (
    PermutationTest,
    least_correlation,
    permutation_test,
    rank_correlation,
)
from curate.proof.results import gains_of
from curate.proof.statistics import ALPHA, IntervalEstimate, estimate
from curate.proof.values import MetricSetting

PREFIX = "quantile-"
Trend = Literal["better", "worse", "not shown"]


@dataclass(frozen=True)
class QuantileDesign(KeyedRecord):
    """What is trained on parts of an order.

    parts: how many. runs: fine-tunes of each. rows: of a fine-tune. reason: why nothing was trained,
    empty where something was. metric: the recipe's `prove.metric`.
    """

    parts: int
    runs: int
    rows: int
    reason: str
    metric: MetricSetting


def part_name(part: int) -> str:
    """Return the name of the arm of a part of the order, the best-ranked of which is the first."""
    return f"{PREFIX}{part}"


def part_arm() -> pl.Expr:
    """Return the names of the arms of a column `part`."""
    return pl.lit(PREFIX) + pl.col("part").cast(pl.String)


def describe_quantiles(
    results: pl.DataFrame, parts: Sequence[PartValues], metric: Metric, design: QuantileDesign
) -> QuantileValues:
    """Return the parts of an order as proof.json has them.

    Args:
        results: arm, seed, eval_id and metrics of the base model and the models of every part; no line
            where nothing was trained.
        parts: the best-ranked first.
        metric: the one that decides the verdict.
        design: what is trained.
    """
    described: QuantileValues = {
        "metric": metric.name,
        "unit": metric.unit,
        "rows": design.rows,
        "parts": parts,
        "trend": "not shown",
        "sentence": f"No quantiles: {design.reason}.",
    }
    if design.reason:
        return described
    gains = [gains_of(results, part_name(part["part"]), metric) for part in parts]
    for part, gain in zip(parts, gains, strict=True):
        by_seed = metric.gain(gain).mean(axis=1)
        part["mean"], part["by_seed"] = float(by_seed.mean()), by_seed.tolist()
    # What is lost from part to part: it rises where higher ranks are better.
    losses = [-gain.mean(axis=1) for gain in gains]
    test = permutation_test([float(loss.mean()) for loss in losses])
    trend = OrderTrend(
        len(parts),
        test,
        tuple(rank_correlation(list(values)) for values in zip(*losses, strict=True)),
        estimate(gains[0], gains[-1]),
    )
    pair = trend.first_over_last
    described |= {
        "base": float(metric.gain(gains_of(results, "base", metric)).mean()),
        "correlation": test.correlation,
        "p": test.p,
        "orders": test.orders,
        "by_seed": trend.by_seed,
        "first_over_last": {
            "difference": pair.difference, "low": pair.low, "high": pair.high
        },
        "least_correlation": least_correlation(len(parts), ALPHA),
        "trend": trend.verdict,
        "sentence": trend_sentence(trend, metric),
    }  # fmt: skip
    return described


@dataclass(frozen=True)
class OrderTrend:
    """What so many parts of an order show, all seeds together and each, and the first over the last."""

    parts: int
    test: PermutationTest
    by_seed: tuple[float, ...]
    first_over_last: IntervalEstimate

    @property
    def verdict(self) -> Trend:
        """Return what is shown; nothing where chance orders the parts as well more than rarely."""
        if self.test.p > ALPHA:
            return "not shown"
        return "better" if self.test.correlation > 0 else "worse"


def trend_sentence(trend: OrderTrend, metric: Metric) -> str:
    """Return whether rows that rank higher train a better model here, in words."""
    test, pair = trend.test, trend.first_over_last
    figures = (
        f"over {trend.parts} parts of the order, a better place and {_good(metric)} correlate with "
        f"{test.correlation:+.2f} (Spearman, p {test.p:.2g} of all {test.orders:,} orders"
        f"{_seeds(trend.by_seed)})"
    )
    gain = (
        f"{metric.gain_label} {pair.difference:+.3f} [{pair.low:+.3f}, {pair.high:+.3f}] with the first "
        "part than with the last"
    )
    if trend.verdict != "not shown":
        head = f"Rows that rank higher train a {trend.verdict} model here"
        return f"{head}: {figures}; {gain}."
    head = "Whether rows that rank higher train a better model is not shown"
    return f"{head}: {figures}; {gain}. {power_of_parts(trend.parts)}."


def _good(metric: Metric) -> str:
    """Return what a better model has."""
    return f"{'lower' if metric.lower_is_better else 'higher'} {metric.label}"


def _seeds(correlations: Sequence[float]) -> str:
    if len(correlations) < 2:
        return ""
    return f"; by seed {', '.join(f'{one:+.2f}' for one in correlations)}"


def power_of_parts(count: int) -> str:
    """Return what so many parts can show at all, as the end of a sentence."""
    least = least_correlation(count, ALPHA)
    if least is None:
        return f"{count} parts are too few to show anything, in whatever order they come"
    perfect = "only where their order is perfect" if least > 1 - 1e-9 else f"from ±{least:.2f} on"
    return f"{count} parts can show it {perfect}"
