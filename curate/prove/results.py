"""What every fine-tune of a proof reaches on every eval example, as one table.

effects.parquet     arm, seed, eval_id, a column for each metric, response_tokens
"""

from collections.abc import Mapping, Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.store import Artifact
from curate.core.tables import read_table
from curate.prove.metrics import METRICS, Metric


def tuned_name(arm: str, number: int) -> str:
    """Return the name of an arm's fine-tune among the inputs of a proof."""
    return f"{arm}/{number}"


def measured_name(name: str) -> str:
    """Return the name of what a fine-tune, or the base model, reaches on the eval set."""
    return f"{name}/measured"


def written_name(name: str) -> str:
    """Return the name of what a fine-tune, or the base model, writes to eval examples."""
    return f"{name}/written"


def first_name(name: str) -> str:
    """Return the name of the first of two phases of a fine-tune."""
    return f"{name}/first"


def arm_names(runs: Mapping[str, int]) -> list[tuple[str, int, str]]:
    """Return arm, number and name of all measured models, the untuned base model first."""
    names = [("base", 0, "base")]
    return names + [(arm, n, tuned_name(arm, n)) for arm in runs for n in range(runs[arm])]


def gather_results(
    inputs: Mapping[str, Artifact], names: Sequence[tuple[str, int, str]]
) -> pl.DataFrame:
    """Return a line for each arm, seed and eval example.

    Args:
        inputs: of the proof.
        names: arm, number and name of measured models.
    """
    return pl.concat(
        read_table(inputs[measured_name(name)].file("results.parquet")).pipe(_values, arm, number)
        for arm, number, name in names
    )


def scored_examples(results: pl.DataFrame) -> pl.DataFrame:
    """Return the lines of examples that a model was scored on.

    Of an eval row truncation may leave no response token; items of tasks have no response of their own.
    """
    tokens = pl.col("response_tokens")
    return results.filter((tokens > 0) | tokens.is_null())


def trained_steps(inputs: Mapping[str, Artifact], name: str) -> int:
    """Return the optimizer steps of a fine-tune, both phases if there are two."""
    phases = [inputs[n] for n in (name, first_name(name)) if n in inputs]
    return sum(int(phase.counts["steps"]) for phase in phases)


def _values(results: pl.DataFrame, arm: str, number: int) -> pl.DataFrame:
    columns = [m.values for m in METRICS.values() if m.is_in(results.columns)]
    labels = pl.lit(arm).alias("arm"), pl.lit(number).alias("seed")
    return results.select(*labels, "eval_id", *columns, "response_tokens")


def weights_of(results: pl.DataFrame, metric: Metric) -> NDArray[np.float64] | None:
    """Return what the examples that have a metric count for in its mean; None if all count the same."""
    if metric.weight is None:
        return None
    base = results.filter(pl.col("arm") == "base", pl.col(metric.name).is_not_null())
    counts: NDArray[np.float64] = base.sort("eval_id")[metric.weight].cast(pl.Float64).to_numpy()
    return counts / float(counts.mean())


def gains_of(results: pl.DataFrame, arm: str, metric: Metric) -> NDArray[np.float64]:
    """Return the metric of an arm as [seeds, examples that have it], larger is better."""
    of_arm = results.filter(pl.col("arm") == arm, pl.col(metric.name).is_not_null())
    of_arm = of_arm.sort("seed", "eval_id")
    values = of_arm[metric.name].to_numpy().reshape(of_arm["seed"].n_unique(), -1)
    return metric.gain(values)
