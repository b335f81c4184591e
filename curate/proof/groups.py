"""Results by groups of eval examples: where the selection gains, and where it loses.

A group is the `origin` of its rows where those of their source have several, else it is the source.
"""

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from curate.proof.metrics import Metric
from curate.proof.results import gains_of
from curate.proof.statistics import ALPHA, IntervalEstimate, compare, estimate

# The interval of fewer examples says next to nothing.
FEWEST = 5
BASE = "base"


def group_examples(eval_rows: pl.DataFrame) -> pl.DataFrame:
    """Return eval_id and group of eval examples: row_id, source and origin."""
    several = pl.col("origin").n_unique().over("source") > 1
    return eval_rows.select(
        pl.col("row_id").alias("eval_id"),
        group=pl.when(several).then("origin").otherwise("source"),
    )


def compare_groups(
    results: pl.DataFrame, groups: pl.DataFrame, control: str, metric: Metric
) -> list[dict[str, Any]]:
    """Return how far the selection is from random draws and base in each group; no verdicts.

    A single group would repeat the whole, and none is returned. One of less than FEWEST examples has no
    estimate.

    Args:
        results: a line for each arm, seed and eval example.
        groups: group of each eval_id.
        control: the one drawn most often.
        metric: the one that decides the verdict.
    """
    of_group = results.join(groups, on="eval_id", how="left", maintain_order="left")
    names = groups["group"].unique(maintain_order=True).to_list()
    if len(names) == 1:
        return []
    return [_compare_group(name, of_group.filter(group=name), control, metric) for name in names]


def _compare_group(
    name: str, results: pl.DataFrame, control: str, metric: Metric
) -> dict[str, Any]:
    examples = results.filter(arm=BASE)[metric.name].drop_nulls().len()
    line = {"group": name, "examples": examples, "unit": metric.unit, "random": None, BASE: None}
    if examples < FEWEST:
        return line
    selected, draws, base = (gains_of(results, arm, metric) for arm in ("selected", control, BASE))
    # Its estimate alone counts; the level is that of a verdict, which is not asked for.
    against = compare(selected, draws, alpha=ALPHA)
    return {
        **line,
        "random": asdict(IntervalEstimate(against.difference, against.low, against.high)),
        BASE: asdict(estimate(selected, np.broadcast_to(base, selected.shape))),
    }
