"""Cascade: a cheap method keeps a share of the rows, the next one ranks what is left, and so on.

The usual way to afford an expensive method (DEITA's quality order before its diversity filter,
Superfiltering's small model before the large one): only what an earlier part kept is ever scored by a
later one. Rows that a part cut rank below all that it kept, in that part's order. A part keeps no row
that it has no score for, even if its share is larger.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.registry import ScoreRun, Selector, SelectParams, add_selector
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.select.parts import check_parts, part_params, ranks_of, selector_of

VERSION = 2
OWN = ("keep",)


class CascadeParams(SelectParams):
    """Methods one after the other, each on what the one before it kept."""

    method: Literal["cascade"] = "cascade"
    parts: list[dict[str, Any]] = Field(
        min_length=2,
        description="methods with their parameters; all but the last with keep: the share of rows "
        "that goes on to the next",
    )

    @model_validator(mode="after")
    def _check(self) -> "CascadeParams":
        check_parts(self.parts, OWN)
        for i, part in enumerate(self.parts[:-1]):
            keep = part.get("keep")
            if not isinstance(keep, int | float) or not 0 < keep <= 1:
                raise ValueError(f"part {i} needs keep: a share of rows above 0 and at most 1")
        if "keep" in self.parts[-1]:
            raise ValueError("the last part ranks what is left: it has no keep")
        return self


def score(run: ScoreRun, params: CascadeParams) -> Artifact:
    """Score part by part, each on the rows that the one before it kept."""
    scored, current = {}, run
    for i, part in enumerate(params.parts):
        part_scores = selector_of(part).score(current, part_params(part, OWN))
        scored[f"part-{i:02d}"] = part_scores
        if i < len(params.parts) - 1:
            step_params = {"part": part, "seed": run.seed, "version": selector_of(part).version}
            inputs = {"kept": current.kept, "scores": part_scores}
            current = current.with_kept(
                run.execute(Step("kept-cascade", VERSION, write_kept, inputs, step_params))
            )
    versions = [selector_of(part).version for part in params.parts]
    step_params = {"parts": params.parts, "seed": run.seed, "versions": versions}
    return run.execute(
        Step("score-cascade", VERSION, write_scores, {"kept": run.kept, **scored}, step_params)
    )


def write_kept(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write kept.parquet: the best rows of one part, in pool order."""
    kept = read_table(inputs["kept"].file("kept.parquet"))
    scores = read_table(inputs["scores"].file("scores.parquet"))
    places = ranks_of(scores, params["part"], OWN, params["seed"])
    count = max(round(params["part"]["keep"] * kept.height), 1)
    best = places.filter(pl.col("place") < count, pl.col("reason").is_null())
    left = kept.join(best, on="row_id", how="semi", maintain_order="left")
    left.write_parquet(out / "kept.parquet")
    return {"rows_in": kept.height, "rows_out": left.height}


def write_scores(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write scores.parquet: row_id, part (that ranked it last), place in it, its score, nearest_id.

    reason says why that part has no score for the row.
    """
    kept = read_table(inputs["kept"].file("kept.parquet")).select("row_id")
    part_tables = []
    for i, part in enumerate(params["parts"]):
        scores = read_table(inputs[f"part-{i:02d}"].file("scores.parquet"))
        places = ranks_of(scores, part, OWN, params["seed"])
        part_tables.append(
            places.join(scores.select("row_id", "score", "nearest_id"), on="row_id").select(
                "row_id",
                "reason",
                part=pl.lit(i, dtype=pl.Int64),
                place=pl.col("place").cast(pl.Int64),
                # Scores of earlier parts have another scale: only the last part's are shown.
                score=pl.col("score").cast(pl.Float64) if i == len(params["parts"]) - 1 else None,
                nearest_id="nearest_id",
            )
        )
    latest = (
        pl.concat(part_tables, how="vertical_relaxed").sort("part").unique("row_id", keep="last")
    )
    frame = kept.join(latest, on="row_id", how="left", maintain_order="left")
    frame.write_parquet(out / "scores.parquet")
    return {
        "rows_in": frame.height,
        "rows_out": int((frame["part"] == len(params["parts"]) - 1).sum()),
    }


def rank(scores: pl.DataFrame, params: CascadeParams, seed: int) -> NDArray[np.int64]:
    """Return row numbers: those that came furthest first, in the order of the part they came to."""
    order: NDArray[np.int64] = np.lexsort((scores["place"].to_numpy(), -scores["part"].to_numpy()))
    return order


def unscored(scores: pl.DataFrame, params: CascadeParams) -> pl.Series:
    """Return why the part that a row came to has no score for it; rows that were cut have one."""
    return scores["reason"]


add_selector(Selector(CascadeParams, VERSION, False, score, rank, unscored=unscored))
