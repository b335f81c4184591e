"""The metrics of a proof: columns of what a measured model leaves for each eval example.

A metric decides the verdict or stands beside it. Which one decides is fixed before anything is trained,
by the recipe or, with `auto`, by the eval set alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

# Exact match is measured beside the loss where no response has more tokens.
SHORT_RESPONSE = 64


@dataclass(frozen=True)
class Metric:
    """A number for each eval example: its column in results.parquet, its unit, what counts as better.

    counted: each example is right or wrong, so that one of them is the smallest difference there is.
    """

    name: str
    column: str
    unit: str
    label: str
    lower_is_better: bool = False
    counted: bool = False

    @property
    def gain_label(self) -> str:
        """Return what a positive difference means: "loss lower by"."""
        return f"{self.label} {'lower' if self.lower_is_better else 'higher'} by"

    def gain(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return values so that larger is better; the gain of a gain are the values again."""
        return -values if self.lower_is_better else values

    def possible(self, mean: float) -> float:
        """Return the nearest mean that examples can have: a share lies between 0 and 1."""
        return min(max(mean, 0.0), 1.0) if self.counted else mean


LOSS = Metric("loss", "loss", "nats per response token", "loss", lower_is_better=True)
EXACT_MATCH = Metric("exact_match", "exact", "share of eval examples", "exact match", counted=True)
GENERATED = Metric(
    "generated", "generated", "share of answered examples", "right answers", counted=True
)
GENERATED_ANNOUNCED = Metric(
    "generated_announced",
    "generated_announced",
    "share of answered examples",
    "right answers after #### or an announcement",
    counted=True,
)
UNMATCHED = Metric(
    "unmatched",
    "unmatched",
    "share of answered examples",
    "answers without a match",
    lower_is_better=True,
    counted=True,
)
USER_FUNCTION = Metric("function", "function", "the function's unit", "score of the function")
METRICS = {
    metric.name: metric
    for metric in (
        LOSS,
        EXACT_MATCH,
        GENERATED,
        GENERATED_ANNOUNCED,
        UNMATCHED,
        USER_FUNCTION,
    )
}


def deciding_metric(setting: str | Mapping[str, Any]) -> Metric:
    """Return the metric that decides under a recipe's `prove.metric`.

    The loss decides unless the user says otherwise: it moves with every example.
    """
    if isinstance(setting, Mapping):
        return GENERATED if "generate" in setting else USER_FUNCTION
    return METRICS.get(setting, LOSS)


def measured_metrics(results: pl.DataFrame, setting: str | Mapping[str, Any]) -> list[Metric]:
    """Return the metrics to report: the deciding one, then others that were measured.

    Args:
        results: of all models, examples with a response token only.
        setting: the recipe's `prove.metric`.
    """
    if setting == EXACT_MATCH.name:
        return [EXACT_MATCH, LOSS]
    written = (GENERATED, GENERATED_ANNOUNCED, UNMATCHED, USER_FUNCTION)
    measured = [*(metric for metric in written if metric.name in results.columns), LOSS]
    short = bool((results["response_tokens"] <= SHORT_RESPONSE).all())
    return [*measured, EXACT_MATCH] if short and setting != LOSS.name else measured
