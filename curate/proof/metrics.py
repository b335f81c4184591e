"""The metrics of a proof: columns of what a measured model leaves for each eval example.

A metric decides the verdict or stands beside it. Which one decides is fixed before anything is trained,
by the recipe or, with `auto`, by the eval set alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.proof.values import MetricSetting

# Exact match is measured beside the loss where no response has more tokens.
SHORT_RESPONSE = 64


@dataclass(frozen=True)
class Metric:
    """A number for each eval example: its column in results.parquet, its unit, what counts as better.

    counted: each example is right or wrong, so that one of them is the smallest difference there is.
    weight: a column whose share in its mean an example's number is multiplied by, so that the mean over
    examples is one over what the column counts. needs: what an example must have, as
    curate.proof.questions counts it.
    """

    name: str
    column: str
    unit: str
    label: str
    lower_is_better: bool = False
    counted: bool = False
    weight: str | None = None
    needs: str | None = None

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

    @property
    def values(self) -> pl.Expr:
        """Return the number of each example of one measured model; null where it has none."""
        numbers = pl.col(self.column).cast(pl.Float64)
        if self.weight is not None:
            weights = pl.col(self.weight).filter(pl.col(self.column).is_not_null())
            numbers = numbers * (pl.col(self.weight) / weights.mean())
        return numbers.alias(self.name)

    def is_in(self, columns: Sequence[str]) -> bool:
        """Return whether a table of results has the metric's columns."""
        return {self.column, *([self.weight] if self.weight else [])} <= set(columns)


LOSS = Metric("loss", "loss", "nats per response token", "loss", lower_is_better=True)
LOSS_PER_TOKEN = Metric(
    "loss_per_token",
    "loss",
    "nats per token of all responses",
    "loss per token",
    lower_is_better=True,
    weight="response_tokens",
)
ANSWER_LOSS = Metric(
    "answer_loss",
    "answer_loss",
    "nats per answer token",
    "loss of the answer",
    lower_is_better=True,
    needs="answers",
)
REST_LOSS = Metric(
    "rest_loss",
    "rest_loss",
    "nats per token around the answer",
    "loss of the rest",
    lower_is_better=True,
    needs="answers",
)
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
REFUSALS = Metric("refusal", "refused", "share of answered examples", "refusals", counted=True)
USER_FUNCTION = Metric("function", "function", "the function's unit", "score of the function")
GOLD_MARGIN = Metric(
    "gold_margin", "gold_margin", "nats per token", "margin of the right option", needs="options"
)
ACCURACY = Metric(
    "accuracy",
    "accuracy",
    "share of examples with options, likelihood per character",
    "accuracy",
    counted=True,
    needs="options",
)
RAW_ACCURACY = Metric(
    "raw_accuracy",
    "raw_accuracy",
    "share of examples with options, likelihood of the whole option",
    "accuracy, not normalised",
    counted=True,
    needs="options",
)
PAIR_LOSS = Metric(
    "pair_loss", "pair_loss", "nats per pair", "loss of held-out pairs", lower_is_better=True
)
PAIR_ACCURACY = Metric(
    "pair_accuracy",
    "pair_accuracy",
    "share of held-out pairs",
    "accuracy on held-out pairs",
    counted=True,
)
LM_EVAL = Metric("lm_eval", "lm_eval", "the tasks' unit", "lm-evaluation-harness")
METRICS = {
    metric.name: metric
    for metric in (
        PAIR_LOSS,
        PAIR_ACCURACY,
        GENERATED,
        GENERATED_ANNOUNCED,
        UNMATCHED,
        REFUSALS,
        USER_FUNCTION,
        LOSS,
        EXACT_MATCH,
        LOSS_PER_TOKEN,
        ANSWER_LOSS,
        REST_LOSS,
        GOLD_MARGIN,
        ACCURACY,
        RAW_ACCURACY,
        LM_EVAL,
    )
}

# Metrics of what a model writes, by the key of their setting.
WRITTEN = {"generate": GENERATED, "function": USER_FUNCTION, "refusal": REFUSALS}


def deciding_metric(setting: MetricSetting) -> Metric:
    """Return the metric that decides under a recipe's `prove.metric`.

    The loss decides unless the user says otherwise: it moves with every example.
    """
    if isinstance(setting, Mapping):
        return next(metric for key, metric in WRITTEN.items() if key in setting)
    return METRICS.get(setting, LOSS)


def measured_metrics(results: pl.DataFrame, setting: MetricSetting) -> list[Metric]:
    """Return the metrics to report: the deciding one, then all others that were measured.

    Exact match stands beside the others where responses are short: long ones are never exact.

    Args:
        results: of all models, examples with a response token only.
        setting: the recipe's `prove.metric`.
    """
    deciding = deciding_metric(setting)
    short = bool((results["response_tokens"] <= SHORT_RESPONSE).all())
    beside = [
        metric
        for metric in METRICS.values()
        if metric.name in results.columns
        and results[metric.name].null_count() < results.height
        and metric != deciding
        and (short or metric != EXACT_MATCH)
    ]
    return [deciding, *beside]
