"""The best of several responses to one prompt, by a score."""

import polars as pl

from curate.core.reasons import Reason
from curate.core.turntext import text_of_turn


def prompt_digest() -> pl.Expr:
    """Return a number that is the same for rows of which all but the last turn is the same."""
    before = pl.col("messages").list.slice(0, pl.col("messages").list.len() - 1)
    turn = pl.concat_str(pl.element().struct.field("role"), text_of_turn(), separator="\x1f")
    return before.list.eval(turn).list.join("\x1e").hash(seed=0)


def keep_best(rows: pl.LazyFrame, verdicts: pl.DataFrame, best: int) -> pl.DataFrame:
    """Return verdicts by which only the best rows of each prompt stay.

    A row without a score stays, and takes no other's place; of equal scores the first in the pool is
    better. duplicate_of names the best row of the prompt.

    Args:
        rows: row_id and messages.
        verdicts: on these rows, of which dropped ones count no more.
        best: rows that stay of each prompt.
    """
    prompts = rows.select("row_id", prompt=prompt_digest()).collect()
    table = verdicts.join(prompts, on="row_id", how="left", maintain_order="left")
    rated = pl.when(pl.col("keep")).then(pl.col("score"))
    place = rated.rank("ordinal", descending=True).over("prompt")
    table = table.with_columns(place=place)
    first = pl.col("row_id").filter(pl.col("place") == 1).first().over("prompt")
    worse = (pl.col("place") > best).fill_null(value=False)
    return table.with_columns(
        keep=pl.col("keep") & ~worse,
        reason=pl.when(worse).then(pl.lit(Reason.OUTDONE.value)).otherwise("reason"),
        duplicate_of=pl.when(worse).then(first).otherwise("duplicate_of"),
    ).drop("prompt", "place")
