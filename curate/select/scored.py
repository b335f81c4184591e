"""The one order in which a method ranks rows: those that it could score, then those that it could not.

A row without a score (its response is behind max_length, the judge's answers were useless, it shares no
word with the target, its score is no finite number) never stands before a row with one, whatever the
method, and is never selected. The method's own ranking does not even see it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.registry import Selector

NOT_FINITE = "its score is no finite number"
BLANK = "nothing in it is known to the embedder"


@dataclass(frozen=True)
class RankOrder:
    """The rank order of a table of scores: row numbers [N], best first, and why a row has no score."""

    rows: NDArray[np.int64]
    unscored: pl.Series


def order_rows(scores: pl.DataFrame, selector: Selector, params: Any, seed: int) -> RankOrder:
    """Return all rows in rank order; those without a score come last, by row_id.

    Raises:
        UserError: no row has a score.
    """
    reasons = why_unscored(scores, selector, params)
    scored = np.flatnonzero(reasons.is_null().to_numpy())
    if not len(scored):
        method = selector.params.model_fields["method"].default
        raise UserError(
            f"{method} could score none of the {scores.height:,} rows "
            f"({describe(count_unscored(reasons))}); change its settings or the rows, or choose "
            "another method"
        )
    ranked = scored[selector.rank(scores[scored], params, seed)]
    rest = np.flatnonzero(reasons.is_not_null().to_numpy())
    rest = rest[scores["row_id"][rest].arg_sort().to_numpy()]
    rows = np.concatenate([ranked, rest]).astype(np.int64)
    return RankOrder(rows, reasons[rows])


def why_unscored(scores: pl.DataFrame, selector: Selector, params: Any) -> pl.Series:
    """Return for each row of a table of scores why it has none; null for a row that has one."""
    reasons = (selector.unscored or without_finite_score)(scores, params)
    return reasons.cast(pl.String).alias("unscored")


def without_finite_score(scores: pl.DataFrame, params: Any) -> pl.Series:
    """Return the column `reason` of rows whose score is null or not finite, as far as there is one."""
    finite = pl.col("score").cast(pl.Float64).is_finite().fill_null(value=False)
    reason = pl.col("reason") if "reason" in scores.columns else pl.lit(None, dtype=pl.String)
    reasons = pl.coalesce(reason, pl.lit(NOT_FINITE))
    return scores.select(pl.when(~finite).then(reasons)).to_series()


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


def every_row_counts(scores: pl.DataFrame, params: Any) -> pl.Series:
    """Return no reason at all: a draw needs no scores."""
    return pl.Series([None] * scores.height, dtype=pl.String)


def count_unscored(reasons: pl.Series) -> dict[str, int]:
    """Return how many rows have no score, by reason, the most frequent one first."""
    return dict(Counter(reasons.drop_nulls().to_list()).most_common())


def describe(counts: Mapping[str, int]) -> str:
    """Return counted reasons in words."""
    return "; ".join(f"{count:,}: {reason}" for reason, count in counts.items())
