"""The table of a map's points for Embedding Atlas."""

from __future__ import annotations

import io
from pathlib import Path

import polars as pl

from curate.runs.folder import open_run
from curate.runs.vectors import find_vectors
from curate.view.atlas import atlas_bytes, atlas_table
from curate.view.maptable import lay_out


def test_each_point_has_its_place_its_scores_and_its_text(mapped_run: Path) -> None:
    run = open_run(mapped_run)
    stored = find_vectors(run)
    row_map = lay_out(run, stored, stored.spaces[0])
    table = atlas_table(run, row_map)
    assert table.select("row_id", "x", "y", "fate").equals(
        row_map.points.select("row_id", "x", "y", "fate")
    )
    semantic = pl.read_parquet(run.path / "evidence" / "semantic.parquet")
    scored = table.filter(pl.col("semantic_score").is_not_null())
    assert scored.height == semantic["score"].count()
    rows = run.rows("pool")
    assert rows is not None
    row_id, messages = rows.select("row_id", "messages").head(1).collect().row(0)
    text = "\n".join(turn["content"] for turn in messages)
    assert table.filter(row_id=row_id)["text"].to_list() == [text]
    assert pl.read_parquet(io.BytesIO(atlas_bytes(run, row_map))).equals(table)
