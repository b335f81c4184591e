"""The one order in which a method ranks rows: those that it could score, then those that it could not.

A row without a score (its response is behind max_length, the judge's answers were useless, it shares no
word with the target, its score is no finite number) never stands before a row with one, whatever the
method, and is never selected. The method's own ranking does not even see it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.selector import Selector

BLANK = "nothing in it is known to the embedder"


@dataclass(frozen=True)
class RankOrder:
    """The rank order of a table of scores: row numbers [N], best first, and why a row has no score."""

    rows: NDArray[np.int64]
    unscored: pl.Series


def order_rows(scores: pl.DataFrame, selector: Selector, seed: int) -> RankOrder:
    """Return all rows in rank order; those without a score come last, by row_id.

    Raises:
        UserError: no row has a score.
    """
    reasons = why_unscored(scores, selector)
    scored = np.flatnonzero(reasons.is_null().to_numpy())
    if not len(scored):
        raise UserError(
            f"{selector.method} could score none of the {scores.height:,} rows "
            f"({describe(count_unscored(reasons))}); change its settings or the rows, or choose "
            "another method"
        )
    all_scored = len(scored) == scores.height
    ranked = scored[selector.rank(scores if all_scored else scores[scored], seed)]
    rest = np.flatnonzero(reasons.is_not_null().to_numpy())
    rest = rest[scores["row_id"][rest].arg_sort().to_numpy()]
    rows = np.concatenate([ranked, rest]).astype(np.int64)
    return RankOrder(rows, reasons[rows])


def why_unscored(scores: pl.DataFrame, selector: Selector) -> pl.Series:
    """Return for each row of a table of scores why it has none; null for a row that has one."""
    return selector.unscored(scores).cast(pl.String).alias("unscored")


def blank_out(table: pl.DataFrame, blank: NDArray[np.bool_], reason: str) -> pl.DataFrame:
    """Return a table of scores in which some rows have none, and a reason.

    Args:
        table: row_id, score, nearest_id and more.
        blank: which rows [N].
        reason: why.
    """
    out = pl.Series(blank)
    return table.with_columns(
        pl.when(~out).then("score").alias("score"),
        pl.when(~out).then("nearest_id").alias("nearest_id"),
        reason=pl.when(out).then(pl.lit(reason)),
    )


def every_row_counts(scores: pl.DataFrame) -> pl.Series:
    """Return no reason at all: a draw needs no scores."""
    return pl.Series([None] * scores.height, dtype=pl.String)


def count_unscored(reasons: pl.Series) -> dict[str, int]:
    """Return how many rows have no score, by reason, the most frequent one first."""
    return dict(Counter(reasons.drop_nulls().to_list()).most_common())


def describe(counts: Mapping[str, int]) -> str:
    """Return counted reasons in words."""
    return "; ".join(f"{count:,}: {reason}" for reason, count in counts.items())
