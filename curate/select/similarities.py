"""Rows by a similarity to each target example: how they are stored, and three ways to combine them."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.registry import SelectParams
from curate.select.rds import round_robin
from curate.store import Artifact, Counts

Combine = Literal["round_robin", "global_max", "mean"]
# Equal texts get equal similarities: where a row lies in a block moves the last digits of a product.
DECIMALS = 6


class SimilarityParams(SelectParams):
    """What selectors take that rank by similarities to target examples."""

    combine: Combine = Field(
        "round_robin",
        description="examples take turns (as in rds), or rows by their largest or mean similarity",
    )


def write_similarities(
    out: Path, inputs: Mapping[str, Artifact], blocks: Iterable[NDArray[np.float32]]
) -> Counts:
    """Write scores.parquet: row_id, score (largest similarity), nearest_id, similarities [Q].

    Args:
        out: the step's folder.
        inputs: `kept` and `target`.
        blocks: similarities [n, Q] of the kept rows, in pool order.
    """
    similar = np.concatenate(list(blocks)).round(DECIMALS)
    ids = pl.read_parquet(inputs["kept"].file("kept.parquet"))["row_id"]
    target_ids = pl.read_parquet(inputs["target"].file("rows.parquet"))["row_id"]
    frame = pl.DataFrame(
        {
            "row_id": ids,
            "score": similar.max(axis=1),
            "nearest_id": target_ids.gather(similar.argmax(axis=1)),
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, len(target_ids))),
        }
    )
    frame.write_parquet(out / "scores.parquet")
    return {"rows_in": frame.height, "rows_out": frame.height}


def rank_similarities(scores: pl.DataFrame, combine: Combine) -> NDArray[np.int64]:
    """Return row numbers, best first; ties go to the smaller row_id."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    similar = scores["similarities"].to_numpy()[by_id]
    if combine == "round_robin":
        return by_id[round_robin(similar.T)]
    together = np.mean if combine == "mean" else np.max
    value = together(similar.astype(np.float64), axis=1)
    return by_id[np.argsort(-value, kind="stable")]


def rank_scores(scores: pl.DataFrame) -> NDArray[np.int64]:
    """Return row numbers by score, best first; ties go to the smaller row_id, null comes last."""
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    value = scores["score"].fill_null(-np.inf).to_numpy()[by_id]
    return by_id[np.argsort(-value, kind="stable")]
