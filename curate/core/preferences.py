"""Preference pairs: rows with a rejected answer, whose record says how the pair came about.

    meta     {"pair": {"how": "prefer", "rejected_id": "prefer/1f...", "margin": 0.62}, ...}
    table    prompt | chosen | rejected | chosen_id | rejected_id | margin | how

`how` is the method that made the pair. The margin says how much surer than not it is that the chosen
answer is the better one: 2 c - 1 for a confidence of c, 1 where a checker found one right and the other
wrong. A pair of the data has none of these; its `how` is "data".
"""

from typing import TypedDict

import polars as pl

DECIMALS = 6
DATA = "data"
PAIR = "pair"


class PairNote(TypedDict):
    """What the record of a row says of its pair."""

    how: str
    rejected_id: str
    margin: float


def pair_note(how: str, rejected_id: str, margin: float) -> PairNote:
    """Return what the record of the chosen row says under "pair".

    Args:
        how: the method that made the pair.
        rejected_id: of the row or candidate that the rejected answer comes from.
        margin: from 0 to 1.
    """
    return {"how": how, "rejected_id": rejected_id, "margin": round(float(margin), DECIMALS)}


def pairs_of(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return the pairs of the rows that have a rejected answer, in their order; lists are of turns."""
    how, rejected_id, margin = (
        pl.col("meta").str.json_path_match(f"$.{PAIR}.{name}") for name in PairNote.__annotations__
    )
    size = pl.col("messages").list.len()
    return rows.filter(pl.col("rejected").list.len() > 0).select(
        prompt=pl.col("messages").list.head(size - 1),
        chosen=pl.col("messages").list.tail(1),
        rejected="rejected",
        chosen_id="row_id",
        rejected_id=rejected_id,
        margin=margin.cast(pl.Float64, strict=False),
        how=how.fill_null(DATA),
    )


def with_rejected(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows whose rejected answer follows their turns, as further ones."""
    both = pl.concat_list("messages", "rejected")
    return rows.with_columns(
        messages=pl.when(pl.col("rejected").is_null()).then("messages").otherwise(both)
    )


def without_equal_answers(rows: pl.DataFrame) -> pl.DataFrame:
    """Return rows without the rejected answers that say what the chosen one says."""
    chosen, rejected = (
        pl.col(name).list.last().struct.field("content") for name in ("messages", "rejected")
    )
    return rows.with_columns(
        rejected=pl.when((chosen == rejected).fill_null(value=False))
        .then(None)
        .otherwise("rejected")
    )
