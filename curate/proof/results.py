"""What every fine-tune of a proof reaches on every eval example, as one table.

effects.parquet     arm, seed, eval_id, a column for each metric, response_tokens
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table, TableGroup
from curate.core.store import Artifact
from curate.proof.metrics import METRICS, Metric

BASE = "base"


@dataclass(frozen=True)
class TrainedModels(TableGroup):
    """The models of a proof by name, and what they reach and write; the untuned one is BASE.

    tuned: the fine-tunes. first: the first phase of those that have two. results: on the eval set.
    written: to eval examples.
    """

    tuned: dict[str, Artifact] = field(default_factory=dict)
    first: dict[str, Artifact] = field(default_factory=dict)
    results: dict[str, Table] = field(default_factory=dict)
    written: dict[str, Table] = field(default_factory=dict)

    def __or__(self, other: "TrainedModels") -> "TrainedModels":
        """Return the models of both."""
        return TrainedModels(
            self.tuned | other.tuned,
            self.first | other.first,
            self.results | other.results,
            self.written | other.written,
        )

    def steps(self, name: str) -> int:
        """Return the optimizer steps of a fine-tune, both phases if there are two."""
        phases = [models[name] for models in (self.tuned, self.first) if name in models]
        return sum(int(phase.counts["steps"]) for phase in phases)


def tuned_name(arm: str, number: int) -> str:
    """Return the name of an arm's fine-tune among the models of a proof."""
    return f"{arm}/{number}"


def tuned_names(arms: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return arm, number and name of so many fine-tunes of each arm."""
    return [(arm, n, tuned_name(arm, n)) for arm, count in arms.items() for n in range(count)]


def arm_names(runs: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return arm, number and name of all measured models, the untuned base model first."""
    return [(BASE, 0, BASE), *tuned_names(runs)]


def gather_results(
    results: Mapping[str, Table], names: Sequence[tuple[str, int, str]]
) -> pl.DataFrame:
    """Return a line for each arm, seed and eval example.

    Args:
        results: of measured models, by name.
        names: arm, number and name of these.
    """
    return pl.concat(results[name].read().pipe(_values, arm, number) for arm, number, name in names)


def scored_examples(results: pl.DataFrame) -> pl.DataFrame:
    """Return the lines of examples that a model was scored on.

    Of an eval row truncation may leave no response token; items of tasks have no response of their own.
    """
    tokens = pl.col("response_tokens")
    return results.filter((tokens > 0) | tokens.is_null())


def _values(results: pl.DataFrame, arm: str, number: int) -> pl.DataFrame:
    columns = [m.values for m in METRICS.values() if m.is_in(results.columns)]
    labels = pl.lit(arm).alias("arm"), pl.lit(number).alias("seed")
    return results.select(*labels, "eval_id", *columns, "response_tokens")


def weights_of(results: pl.DataFrame, metric: Metric) -> NDArray[np.float64] | None:
    """Return what the examples that have a metric count for in its mean; None if all count the same."""
    if metric.weight is None:
        return None
    base = results.filter(pl.col("arm") == BASE, pl.col(metric.name).is_not_null())
    counts: NDArray[np.float64] = base.sort("eval_id")[metric.weight].cast(pl.Float64).to_numpy()
    return counts / float(counts.mean())


def gains_of(results: pl.DataFrame, arm: str, metric: Metric) -> NDArray[np.float64]:
    """Return the metric of an arm as [seeds, examples that have it], larger is better."""
    of_arm = results.filter(pl.col("arm") == arm, pl.col(metric.name).is_not_null())
    of_arm = of_arm.sort("seed", "eval_id")
    values = of_arm[metric.name].to_numpy().reshape(of_arm["seed"].n_unique(), -1)
    return metric.gain(values)
