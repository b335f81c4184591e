"""The rows of a map as a table that Embedding Atlas opens: places, fates, scores and texts.

embedding-atlas map.parquet --text text --x x --y y
"""

import io

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.config.names import stage_names
from curate.runs.folder import RunFolder
from curate.text.compared import compared_text
from curate.view.maptable import TARGET, RowMap

# Of a longer text it is the beginning; the run has all of it.
TEXT_CHARS = 4_000
FIRST = ("row_id", "x", "y", "fate", "source", "origin", "stage", "reason", "score", "rank")


def atlas_table(run: RunFolder, row_map: RowMap) -> pl.DataFrame:
    """Return row_id, x, y, fate, source ..., the scores of stages as STAGE_score, and text."""
    table = row_map.points.select(*FIRST, "duplicate_of").lazy()
    for name in stage_names(run.config.stages):
        scores = _scores(run, name)
        if scores is not None:
            table = table.join(scores, on="row_id", how="left", maintain_order="left")
    texts = [texts for role in ("pool", TARGET) if (texts := _texts(run, role)) is not None]
    if texts:
        # An example of the target may have the id of a row.
        keys = ["row_id", "is_target"]
        table = table.with_columns(is_target=pl.col("fate") == TARGET)
        table = table.join(pl.concat(texts), on=keys, how="left", maintain_order="left")
        table = table.drop("is_target")
    return table.collect()


def _scores(run: RunFolder, stage: str) -> pl.LazyFrame | None:
    """Return row_id and the score that a stage gave, None where it gave none."""
    if not run.has(f"evidence/{stage}"):
        return None
    evidence = run.table(f"evidence/{stage}")
    if "score" not in evidence.collect_schema():
        return None
    return evidence.select("row_id", pl.col("score").cast(pl.Float64).alias(f"{stage}_score"))


def _texts(run: RunFolder, role: str) -> pl.LazyFrame | None:
    """Return row_id, whether it is of the target, and the beginning of the text."""
    rows = run.rows(role)
    if rows is None:
        return None
    text = compared_text("example").fill_null("")
    beginning = pl.when(text.str.len_chars() > TEXT_CHARS).then(
        text.str.slice(0, TEXT_CHARS) + pl.lit(" ...")
    )
    return rows.select("row_id", is_target=pl.lit(role == TARGET), text=beginning.otherwise(text))


def atlas_bytes(
    run: RunFolder, row_map: RowMap, vectors: NDArray[np.float32] | None = None
) -> bytes:
    """Return the table as a Parquet file, with a column `vector` where vectors [n, d] are given."""
    table, buffer = atlas_table(run, row_map), io.BytesIO()
    if vectors is not None:
        table = table.with_columns(pl.Series("vector", vectors).arr.to_list())
    table.write_parquet(buffer, compression="zstd")
    return buffer.getvalue()
