"""What the base model, the selection's and a random draw's fine-tune wrote, beside what they score.

written.parquet     eval_id, arm, text, tokens, cut, and a column for each metric
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.calls import Table
from curate.proof.metrics import METRICS, Metric
from curate.proof.results import BASE, tuned_name


def writing_models(control: str) -> dict[str, str]:
    """Return the arms whose answers are shown, and the name of the model that writes for each."""
    return {BASE: BASE, **{arm: tuned_name(arm, 0) for arm in ("selected", control)}}


def write_side_by_side(
    out: Path,
    written: Mapping[str, Table],
    results: pl.DataFrame,
    control: str,
    metric: Metric,
) -> dict[str, Any] | None:
    """Write written.parquet and return what proof.json says of it; None if nothing was written.

    Args:
        out: the folder of the proof.
        written: what models wrote, by name.
        results: a line for each arm, seed and eval example.
        control: the control whose first draw writes.
        metric: the one that decides, by which an answer is better or worse.
    """
    arms = writing_models(control)
    if BASE not in written:
        return None
    columns = [name for name in METRICS if name in results.columns]
    scores = results.filter(seed=0).select("arm", "eval_id", *columns)
    answers = pl.concat(
        written[name].read().select("eval_id", pl.lit(arm).alias("arm"), "text", "tokens", "cut")
        for arm, name in arms.items()
    ).join(scores, on=["arm", "eval_id"], how="left", maintain_order="left")
    answers.write_parquet(out / "written.parquet")
    return {
        "examples": answers.filter(arm=BASE).height,
        "cut": {arm: answers.filter(pl.col("arm") == arm, "cut").height for arm in arms},
        "longest": answers["tokens"].max(),
        "selected_against": {
            arm: _count_changes(answers, arm, metric) for arm in arms if arm != "selected"
        },
    }


def _count_changes(answers: pl.DataFrame, arm: str, metric: Metric) -> dict[str, int]:
    """Return on how many examples the selection scores better, worse and the same as another arm."""
    one, other = (
        answers.filter(arm=name).select("eval_id", metric.name) for name in ("selected", arm)
    )
    pairs = one.join(other, on="eval_id").drop_nulls()
    gains = metric.gain(pairs[metric.name].to_numpy() - pairs[f"{metric.name}_right"].to_numpy())
    return {
        "better": int((gains > 0).sum()),
        "worse": int((gains < 0).sum()),
        "same": int((gains == 0).sum()),
    }
