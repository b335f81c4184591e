"""Blend: the weighted mean of where several methods rank a row.

Ranks, not scores, are averaged: a cosine, a loss and a length have no common scale, and the average of
ranks (Borda count) needs none. Each part alone ranks all kept rows; a row's score is the weighted mean
of 1 - place / (N - 1). A row that a part has no score for has none here. Cost: that of the parts; other
weights are a query.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.errors import UserError
from curate.core.registry import ScoreRun, Selector, SelectParams, add_selector
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.select.parts import check_parts, part_params, ranks_of, selector_of

VERSION = 2
OWN = ("weight",)


class BlendParams(SelectParams):
    """Rows that several methods rank high."""

    method: Literal["blend"] = "blend"
    parts: list[dict[str, Any]] = Field(
        min_length=2,
        description="methods with their parameters, and a weight each (1 if not given)",
    )

    @model_validator(mode="after")
    def _check(self) -> "BlendParams":
        check_parts(self.parts, OWN)
        if not all(isinstance(w, int | float) and w > 0 for w in self.weights):
            raise ValueError(f"weights must be numbers above 0 (got {self.weights})")
        return self

    @property
    def weights(self) -> list[float]:
        """Return the weight of every part."""
        return [part.get("weight", 1.0) for part in self.parts]


def score(run: ScoreRun, params: BlendParams) -> Artifact:
    """Let every part score the rows, then join their rankings."""
    part_scores = [selector_of(part).score(run, part_params(part, OWN)) for part in params.parts]
    inputs = {f"part-{i:02d}": artifact for i, artifact in enumerate(part_scores)}
    versions = [selector_of(part).version for part in params.parts]
    step_params = {"parts": params.parts, "seed": run.seed, "versions": versions}
    return run.execute(
        Step("score-blend", VERSION, write_scores, {"kept": run.kept, **inputs}, step_params)
    )


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, score, nearest_id, reason, and heights [P]: 1 for a part's best row.

    reason is that of the first part that has no score for the row.
    """
    kept = read_table(inputs["kept"].file("kept.parquet")).select("row_id")
    nearest = pl.Series([None] * kept.height, dtype=pl.String)
    reason = nearest
    heights = []
    for i, part in enumerate(params["parts"]):
        scores = read_table(inputs[f"part-{i:02d}"].file("scores.parquet"))
        places = ranks_of(scores, part, OWN, params["seed"])
        joined = kept.join(places, on="row_id", how="left", maintain_order="left")
        reason = reason.zip_with(reason.is_not_null(), joined["reason"])
        heights.append(1 - joined["place"].to_numpy() / max(kept.height - 1, 1))
        nearest_ids = kept.join(
            scores.select("row_id", "nearest_id"), on="row_id", how="left", maintain_order="left"
        )["nearest_id"]
        nearest = nearest.zip_with(nearest.is_not_null(), nearest_ids)
    table = np.stack(heights, axis=1)
    weights = [part.get("weight", 1.0) for part in params["parts"]]
    frame = kept.with_columns(
        score=pl.Series(np.average(table, axis=1, weights=weights)).set(reason.is_not_null(), None),
        nearest_id=nearest,
        reason=reason,
        heights=pl.Series(table, dtype=pl.Array(pl.Float64, table.shape[1])),
    )
    frame.write_parquet(out / "scores.parquet")
    unscored = len(reason) - reason.null_count()
    return {"rows_in": frame.height, "rows_out": frame.height, "unscored": unscored}


def rank(scores: pl.DataFrame, params: BlendParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers by the weighted mean of heights, best first; ties go to the smaller row_id."""
    heights = scores["heights"].to_numpy()
    if heights.shape[1] != len(params.parts):
        raise UserError(
            f"select.parts: {heights.shape[1]} methods were scored, not {len(params.parts)}; run the "
            "recipe with the other parts"
        )
    by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
    mean = np.average(heights, axis=1, weights=params.weights)
    return by_id[np.argsort(-mean[by_id], kind="stable")]


add_selector(Selector(BlendParams, VERSION, False, score, rank))
