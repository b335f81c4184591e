"""Texts and embeddings of the pool (kept rows) and of the target examples."""

from collections.abc import Iterator, Mapping

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.registry import ScoreRun
from curate.core.store import Artifact
from curate.core.tables import rows_at_once
from curate.models.embed import embed_steps_at
from curate.select.vectors import BLOCK, VectorParams, embed_pool
from curate.text.compared import Compared, compared_text

BATCH_ROWS = 8_192
TARGET_BLOCK = "wanted-"


def iter_pool_texts(rows: Table, kept: Table, compare: Compared) -> Iterator[pl.Series]:
    """Yield the compared texts of the kept rows, batch by batch in pool order."""
    texts = (
        rows.scan()
        .select("row_id", "messages")
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
        .select(text=compared_text(compare).fill_null(""))
    )
    size = rows_at_once(rows.path, BATCH_ROWS)
    for batch in texts.collect_batches(chunk_size=size, maintain_order=True):
        if batch.height:
            yield batch["text"]


def read_target_texts(target: Table, compare: Compared) -> pl.Series:
    """Return the compared texts of the target examples, in their order."""
    return target.scan().select(text=compared_text(compare).fill_null("")).collect()["text"]


def embed_pool_and_target(run: ScoreRun, params: VectorParams) -> dict[str, Artifact]:
    """Embed pool and target; return both and their blocks of embeddings as the inputs of a step."""
    if run.target is None:
        raise ValueError("similarity to target examples needs target examples")
    positions = np.arange(run.target.counts["rows_out"])
    steps = embed_steps_at(run, run.target, positions, params.compare, params.embedder)
    target_blocks = {
        f"{TARGET_BLOCK}{i:05d}": block for i, block in enumerate(run.execute_all(steps))
    }
    return {"target": run.target, **target_blocks, **embed_pool(run, params)}


def read_target_embeddings(inputs: Mapping[str, Artifact]) -> NDArray[np.float32]:
    """Read the embeddings [Q, d] of the target examples."""
    return np.concatenate(list(_blocks(inputs, TARGET_BLOCK)))


def iter_pool_embeddings(inputs: Mapping[str, Artifact]) -> Iterator[NDArray[np.float32]]:
    """Yield the embeddings of the kept rows in blocks [n, d], in pool order, from the disk."""
    yield from _blocks(inputs, BLOCK)


def _blocks(inputs: Mapping[str, Artifact], prefix: str) -> Iterator[NDArray[np.float32]]:
    for name in sorted(name for name in inputs if name.startswith(prefix)):
        block = np.load(inputs[name].file("vectors.npy"), mmap_mode="r", allow_pickle=False)
        if not np.isfinite(block).all():
            raise UserError("an embedding is no finite number; use another models.embedder")
        yield block
