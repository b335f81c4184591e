"""Texts and embeddings of the pool (kept rows) and of the target examples."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Table
from curate.core.run import ScoreRun, target_of
from curate.core.tables import rows_at_once
from curate.models.embed import embed_rows
from curate.selectors.vectors import PoolBlocks, embed_pool, iter_blocks
from curate.text.compared import Compared, compared_text

BATCH_ROWS = 8_192


@dataclass(frozen=True)
class PoolAndTarget(PoolBlocks):
    """The kept rows and the target examples, and the embeddings of both in blocks."""

    target: Table
    target_blocks: tuple[Table, ...]


def iter_pool_texts(rows: Table, kept: Table, compare: Compared) -> Iterator[pl.Series]:
    """Yield the compared texts of the kept rows, batch by batch in pool order."""
    texts = (
        rows.scan()
        .select("row_id", "messages")
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
        .select(text=compared_text(compare).fill_null(""))
    )
    size = rows_at_once(rows.paths, BATCH_ROWS)
    for batch in texts.collect_batches(chunk_size=size, maintain_order=True):
        if batch.height:
            yield batch["text"]


def read_target_texts(target: Table, compare: Compared) -> pl.Series:
    """Return the compared texts of the target examples, in their order."""
    return target.scan().select(text=compared_text(compare).fill_null("")).collect()["text"]


def embed_pool_and_target(
    run: ScoreRun, compare: Compared = "example", embedder: str | None = None
) -> PoolAndTarget:
    """Embed the kept rows and the target examples."""
    target = target_of(run)
    positions = np.arange(target.height)
    blocks = embed_rows(run, target, positions, compare, embedder)
    return PoolAndTarget(
        **vars(embed_pool(run, compare, embedder)), target=target, target_blocks=tuple(blocks)
    )


def read_target_embeddings(embedded: PoolAndTarget) -> NDArray[np.float32]:
    """Return the embeddings [Q, d] of the target examples."""
    return np.concatenate(list(iter_blocks(embedded.target_blocks)))


def iter_pool_embeddings(embedded: PoolBlocks) -> Iterator[NDArray[np.float32]]:
    """Yield the embeddings of the kept rows in blocks [n, d], in pool order, from the disk."""
    return iter_blocks(embedded.blocks)
