"""What a brief tuning does to rows: the losses of their responses before and after, and their gain.

    gain = (loss under the base - loss under the tuned model) per token of the response
    shrunk gain = gain * tokens / (tokens + prior)

A tuning also teaches manners, such as to answer tersely, and in a response of two tokens these are all
there is. So each response is averaged with `prior` tokens of no gain; 0 gives the plain mean.
"""

from collections.abc import Sequence

import polars as pl

from curate.core.calls import Table
from curate.core.store import Artifact
from curate.models.losses import mean_loss, read_losses

PRIOR_TOKENS = "tokens without gain that each response is averaged with"
NOTHING_READ = "no response token within max_length"


def loss_table(
    kept: Table,
    measured: Table,
    base: Sequence[Artifact],
    measured_tuned: Table,
    tuned: Sequence[Artifact],
) -> pl.DataFrame:
    """Return row_id, base_loss, tuned_loss and response_tokens of the kept rows, in pool order.

    Args:
        kept: the rows.
        measured: the rows of the base model's blocks.
        base: its losses.
        measured_tuned: the rows of the tuned model's blocks.
        tuned: its losses.
    """
    before = read_losses(base, measured, kept)
    after = read_losses(tuned, measured_tuned, kept)
    return pl.DataFrame(
        {
            "row_id": kept.read(["row_id"])["row_id"],
            "base_loss": mean_loss(before, "response"),
            "tuned_loss": mean_loss(after, "response"),
            "response_tokens": before["response_tokens"],
        }
    )


def with_score(frame: pl.DataFrame, gain: pl.Expr | pl.Series) -> pl.DataFrame:
    """Return a table of losses with the gain as score, nearest_id (null), and why there is none."""
    return frame.with_columns(score=gain).with_columns(
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=pl.when(pl.col("score").is_null()).then(pl.lit(NOTHING_READ)),
    )


def shrunk_gain(prior_tokens: int) -> pl.Expr:
    """Return the gain of each row of a table of losses; null where nothing of a response was read."""
    tokens = pl.col("response_tokens")
    return (pl.col("base_loss") - pl.col("tuned_loss")) * tokens / (tokens + prior_tokens)
