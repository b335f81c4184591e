"""Perplexity ratio: rows that become likelier when the base model is tuned on the target examples.

    gain = (loss under the base - loss under the tuned model) per token of the response
    score = gain * tokens / (tokens + 10)

The gain is the log of the ratio of the two perplexities: the cross-entropy difference of Moore and Lewis
2010, "Intelligent Selection of Language Model Training Data" (ACL), with the base as the general model
and the same model tuned on the target as the particular one, as in CoLoR-Filter, Brandfonbrener et al.
2024, arXiv:2406.10670. Both read whole documents; here the response is scored given its prompt, which
is also all that the tuning learns. Cost: a brief LoRA fine-tune on the target examples, and two forward
passes over every row.

Some 10 to 50 target examples are soon learned by heart, and then every row that is not one of them
looks alike, or worse than before: after 8 epochs on the 20 bundled examples the other rows have lost
2 nats a token, after 3 they have gained 0.3. So the tuning stays short: `epochs` passes, LoRA only, a
learning rate that decays; and the base's loss is subtracted, so that what is easy anyway gains
nothing. A row that repeats a target example comes first: drop those beforehand if they are not wanted.

Per token, so that length does not decide. But a tuning also teaches manners, such as to answer tersely,
and in a response of two tokens these are all there is: on the bundled pool, bare one-word answers of
other tasks had the highest gains. So each response is averaged with `prior_tokens` tokens of no gain;
0 gives the plain mean.

All target examples are learned together: a small subtask among them counts by its share of the tokens.
"""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.errors import UserError
from curate.core.registry import (
    ResponseLimit,
    ScoreRun,
    Selector,
    SelectParams,
    add_selector,
    by_row,
)
from curate.core.store import Artifact, Counts, Step, digest_of
from curate.core.tables import read_table
from curate.models import finetune
from curate.models.finetune import learn_adapter
from curate.models.index import measured, named
from curate.models.losses import base_model, loss_steps, mean_loss, read_losses
from curate.models.training import read_messages

VERSION = 1
# The proof's settings. The seed is fixed: another draw of the adapters is no other method.
LORA = {"rank": 16, "alpha": 32, "batch_rows": 8}
SEED = (0,)
NOTHING_READ = "no response token within max_length"


class PerplexityRatioParams(SelectParams):
    """Rows that a brief tuning on the target examples makes likelier."""

    method: Literal["perplexity_ratio"] = "perplexity_ratio"
    epochs: int = Field(
        3, gt=0, description="passes over the target examples; more learn them by heart"
    )
    learning_rate: float = Field(5e-4, gt=0)
    prior_tokens: int = Field(
        10, ge=0, description="tokens without gain that each response is averaged with"
    )
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")


def score(run: ScoreRun, params: PerplexityRatioParams) -> Artifact:
    """Tune on the target, measure responses under both models, then store the differences."""
    base = base_model(run)
    tuned = replace(base, adapter=run.execute(tune_step(run, params)))
    inputs = {"kept": run.kept, "measured": measured(run)}
    for part, model in (("base", base), ("tuned", tuned)):
        blocks = run.execute_all(loss_steps(run, model, "response", params.max_length))
        inputs |= {f"{part}-{name}": block for name, block in named(blocks).items()}
    step_params = {"prior_tokens": params.prior_tokens}
    return run.execute(Step("score-perplexity_ratio", VERSION, write_scores, inputs, step_params))


def tune_step(run: ScoreRun, params: PerplexityRatioParams) -> Step:
    """Return the step that tunes the base model on the target examples."""
    if run.target is None:
        raise ValueError("perplexity_ratio needs target examples")
    path = run.target.file("rows.parquet")
    ids = read_table(path, columns=["row_id"])["row_id"].to_list()
    lora = {
        **LORA,
        "epochs": params.epochs,
        "learning_rate": params.learning_rate,
        "max_length": params.max_length,
    }
    step_params = {
        "texts": digest_of(read_messages(path, ids)),
        "model": run.model_identity(),
        "lora": lora,
        "finetune": finetune.VERSION,
    }
    runtime = {**run.model_runtime(), "rows": str(path), "row_ids": ids}
    return Step("tune-target", VERSION, tune_target, params=step_params, runtime=runtime)


def tune_target(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write adapter.safetensors: what LoRA learned from the target examples.

    Raises:
        UserError: there is nothing to learn, or the training diverges.
    """
    lora = params["lora"]
    try:
        counts = learn_adapter(out / "adapter.safetensors", params, runtime, SEED)
    except FloatingPointError as error:
        raise UserError(
            "tuning on the target examples diverged; lower select.learning_rate "
            f"(now {lora['learning_rate']:g})"
        ) from error
    if not counts["steps"]:
        raise UserError(
            f"no target example has a response within {lora['max_length']} tokens; raise "
            "select.max_length"
        )
    return counts


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score, nearest_id (null), reason, both losses, tokens."""
    base, tuned = (read_losses(inputs, part) for part in ("base-block-", "tuned-block-"))
    frame = pl.DataFrame(
        {
            "row_id": read_table(inputs["kept"].file("kept.parquet"))["row_id"],
            "base_loss": mean_loss(base, "response"),
            "tuned_loss": mean_loss(tuned, "response"),
            "response_tokens": base["response_tokens"],
        }
    )
    value = _shrunk_gain(params["prior_tokens"])
    frame = frame.with_columns(
        score=value,
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=pl.when(value.is_null()).then(pl.lit(NOTHING_READ)),
    )
    frame.write_parquet(out / "scores.parquet")
    return {
        "rows_in": frame.height,
        "rows_out": frame.height,
        "unscored": frame["score"].null_count(),
    }


def _shrunk_gain(prior_tokens: int) -> pl.Expr:
    tokens = pl.col("response_tokens")
    return (pl.col("base_loss") - pl.col("tuned_loss")) * tokens / (tokens + prior_tokens)


def rank(scores: pl.DataFrame, params: PerplexityRatioParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers, best first; ties go to the smaller row_id, unscored rows come last."""
    sort_key = _shrunk_gain(params.prior_tokens).fill_null(-math.inf)
    order = scores.select(pl.arg_sort_by(sort_key, "row_id", descending=[True, False]))
    return order.to_series().to_numpy().astype(np.int64)


add_selector(
    Selector(
        PerplexityRatioParams,
        VERSION,
        True,
        score,
        rank,
        ("prior_tokens",),
        renders_target=True,
        score_more=by_row(score),
        response=lambda params: ResponseLimit(params.max_length),
    )
)
