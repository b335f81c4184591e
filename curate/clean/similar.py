"""Rows whose user turns mean much the same as an eval prompt: paraphrases that share no run of words.

row_id | eval_id | similarity
"""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.clean.overlaps import read_eval_rows
from curate.core.calls import cached_files
from curate.core.keyed import EmbedderSource
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.wants import ONE_GPU
from curate.models.embed import embed_texts
from curate.models.neighbours.nearest import nearest
from curate.overlap.units import user_text

VERSION = 3
BATCH_ROWS = 4_096
# Eval examples that are listed for a row.
MOST = 5
SCHEMA = pl.Schema({"row_id": pl.String(), "eval_id": pl.String(), "similarity": pl.Float64()})


@cached_files(
    version=VERSION,
    name="leaks-similar",
    title="Look for rows that resemble eval prompts",
    wants=ONE_GPU,
)
def write_similar(out: Path, data: StageInputs, embedder: EmbedderSource, floor: float) -> Counts:
    """Write similar.parquet: each row's most similar eval examples, from the floor on, best first."""
    eval_rows = read_eval_rows(data)
    prompts = embed_texts(eval_rows.select(user_text()).to_series().to_list(), embedder.name)
    rows, pairs = 0, 0
    schema = SCHEMA.to_frame().to_arrow().schema
    with pq.ParquetWriter(out / "similar.parquet", schema, compression="zstd") as writer:
        for batch in data.survivor_batches(["row_id", "messages"], BATCH_ROWS):
            turns = _user_turns(batch)
            vectors = embed_texts(turns["text"].to_list(), embedder.name)
            row_pairs = _best_of_rows(turns["row"], find_nearest(vectors, prompts, floor))
            id_pairs = row_pairs.select(
                batch["row_id"].gather(row_pairs["row"]).alias("row_id"),
                eval_rows["row_id"].gather(row_pairs["prompt"]).alias("eval_id"),
                "similarity",
            )
            writer.write_table(id_pairs.to_arrow())
            rows += batch.height
            pairs += id_pairs.height
    return {"rows_in": rows, "pairs": pairs}


def _user_turns(rows: pl.DataFrame) -> pl.DataFrame:
    """Return row number and text of user turns, each on its own: others would hide what it asks."""
    turn = pl.col("messages").struct
    return (
        rows.select("messages", row=pl.int_range(pl.len(), dtype=pl.Int64))
        .explode("messages")
        .filter(turn.field("role") == "user")
        .select("row", text=turn.field("content"))
    )


def find_nearest(
    vectors: NDArray[np.float32], prompts: NDArray[np.float32], floor: float
) -> pl.DataFrame:
    """Return up to MOST most similar prompts of each vector, from the floor on.

    Args:
        vectors: unit vectors [N, d].
        prompts: unit vectors [M, d].
        floor: smallest cosine similarity.

    Returns:
        turn and prompt (numbers of vectors), similarity (cosine, to six decimals).
    """
    best, cosines = nearest(vectors, [prompts], MOST, rounded=False)
    turn = np.repeat(np.arange(len(vectors)), best.shape[1])
    # Rounded, so that a text is as similar to itself as `warn: 1` asks.
    similarity = np.round(cosines.ravel(), 6)
    pairs = pl.DataFrame({"turn": turn, "prompt": best.ravel(), "similarity": similarity})
    return pairs.filter(pl.col("similarity") >= floor)


def _best_of_rows(row: pl.Series, turn_pairs: pl.DataFrame) -> pl.DataFrame:
    """Return the pairs of rows: those of their most similar turns."""
    return (
        turn_pairs.with_columns(row=row.gather(turn_pairs["turn"]))
        .group_by("row", "prompt")
        .agg(pl.col("similarity").max())
        .sort("row", "similarity", "prompt", descending=[False, True, False])
        .group_by("row", maintain_order=True)
        .head(MOST)
    )
