"""Exact duplicates: rows with the same roles and normalised text as an earlier row."""

from typing import Literal

import polars as pl

from curate.reasons import Reason
from curate.registry import Params, StageData, StageResult, stage


class ExactParams(Params):
    """Drop rows whose text, in Unicode NFC and with white space collapsed, was seen before."""

    kind: Literal["exact"] = "exact"


@stage(ExactParams, version=1)
def exact(data: StageData, params: ExactParams) -> StageResult:
    """Keep the earliest row of every content hash; the others name it as their twin."""
    duplicate = pl.col("row_id") != pl.col("first_id")
    return StageResult(
        data.rows.select("row_id", "content_hash")
        .collect()
        .with_columns(first_id=pl.col("row_id").first().over("content_hash"))
        .select(
            "row_id",
            keep=~duplicate,
            reason=pl.when(duplicate).then(pl.lit(Reason.EXACT_DUPLICATE.value)),
            score=duplicate.cast(pl.Float64),
            threshold=pl.lit(1.0),
            twin_id=pl.when(duplicate).then("first_id"),
        )
    )
