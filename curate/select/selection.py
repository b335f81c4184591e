"""The selection: a query over stored evidence, so another budget costs seconds."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from curate.errors import UserError
from curate.registry import SelectParams, find_selector
from curate.select.budget import rows_within
from curate.store import Artifact, Counts, Step

VERSION = 1


def rank_rows(
    scores: pl.DataFrame, tokens: pl.DataFrame, params: SelectParams, seed: int
) -> pl.DataFrame:
    """Return every scored row in rank order, with what the budget selects.

    Columns: row_id, rank (from 1), selected, score, nearest_id, tokens.

    Raises:
        UserError: no row is left to choose from.
    """
    if not scores.height:
        raise UserError("no row is left to select from: every row was dropped by an earlier stage")
    method = params.model_dump()["method"]
    order = find_selector(method).rank(scores, params, seed)
    ranked = (
        scores.select("row_id", "score", "nearest_id")[order]
        .join(tokens, on="row_id", how="left", maintain_order="left")
        .with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
    )
    count = rows_within(params.budget, ranked["tokens"].to_numpy().astype(np.int64))
    return ranked.select(
        "row_id", "rank", (pl.col("rank") <= count).alias("selected"), "score", "nearest_id",
        "tokens",
    )  # fmt: skip


def select_step(
    rows: Artifact, scores: Artifact, tokens: Artifact, params: SelectParams, seed: int
) -> Step:
    """Return the step that writes the selection."""
    dump = params.model_dump(mode="json")
    version = [VERSION, find_selector(dump["method"]).version]
    return Step(
        "select",
        VERSION,
        write_selection,
        {"rows": rows, "scores": scores, "tokens": tokens},
        {"select": dump, "seed": seed, "versions": version},
    )


def write_selection(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], hints: Mapping[str, Any]
) -> Counts:
    """Write ranking.parquet (every row in rank order) and selected.parquet (the chosen rows)."""
    select = find_selector(params["select"]["method"]).params.model_validate(params["select"])
    ranking = rank_rows(
        pl.read_parquet(inputs["scores"].file("scores.parquet")),
        pl.read_parquet(inputs["tokens"].file("tokens.parquet")),
        select,
        params["seed"],
    )
    ranking.write_parquet(out / "ranking.parquet")
    chosen = ranking.filter("selected")
    rows = pl.scan_parquet(inputs["rows"].file("rows.parquet"))
    selected = (
        rows.join(chosen.lazy().select("row_id", "rank"), on="row_id")
        .sort("rank")
        .drop("rank")
        .collect()
    )
    selected.write_parquet(out / "selected.parquet")
    return {
        "rows_in": ranking.height,
        "rows_out": chosen.height,
        "not_selected": ranking.height - chosen.height,
        "tokens": int(chosen["tokens"].sum()),
    }
