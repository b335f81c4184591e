"""Where a stage that scores rows cuts: at a value, or below the worst share of them."""

from math import floor

import polars as pl
from pydantic import Field, model_validator

from curate.core.params import Params
from curate.core.stage import StageData

RETHRESHOLDABLE = ("threshold", "drop")


class CutParams(Params):
    """What stages take that drop rows by a score: a threshold, or a share of the rows."""

    threshold: float | None = Field(
        None, description="rows with a lower score are dropped", examples=[0.4]
    )
    drop: float | None = Field(
        None,
        ge=0,
        lt=1,
        description="share of the scored rows to drop at most; equal scores stay",
        examples=[0.1],
    )

    @model_validator(mode="after")
    def _check_cut(self) -> "CutParams":
        if self.threshold is not None and self.drop is not None:
            raise ValueError("give threshold or drop, not both; set the other one to null")
        return self


def cut_rows(data: StageData, scores: pl.DataFrame, params: CutParams, reason: str) -> pl.DataFrame:
    """Return the verdicts on all rows: those that score below the cut go.

    Rows without a score stay. `drop` never parts rows with equal scores, so it drops as many as it
    says or fewer.

    Args:
        data: what the stage reads.
        scores: row_id and score; null where a row has none.
        params: where to cut; where they say nothing, nothing is dropped.
        reason: of the drops.
    """
    threshold = params.threshold
    if threshold is None and params.drop is not None:
        threshold = _threshold_of(scores["score"].drop_nulls().sort(), params.drop)
    rows = data.rows.select("row_id").collect()
    low = pl.lit(False) if threshold is None else (pl.col("score") < threshold).fill_null(False)
    return rows.join(
        scores.select("row_id", pl.col("score").cast(pl.Float64)),
        on="row_id",
        how="left",
        maintain_order="left",
    ).select(
        "row_id",
        keep=~low,
        reason=pl.when(low).then(pl.lit(str(reason))),
        score="score",
        threshold=pl.lit(threshold, dtype=pl.Float64),
        duplicate_of=pl.lit(None, dtype=pl.String),
    )


def _threshold_of(ordered: pl.Series, share: float) -> float | None:
    """Return the score below which at most that share of ascending scores lies."""
    # A share such as 0.3 of 10 rows is a little less than 3 in binary.
    count = floor(share * len(ordered) + 1e-9)
    return float(ordered[count]) if count else None
