"""Sentence vectors of the kept rows, in the order of their ids, for selectors of whole sets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Table, TableGroup
from curate.core.errors import UserError
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.workload import Workload
from curate.models.embed import embed_rows
from curate.text.compared import Compared


class VectorParams(Selector):
    """Base of selectors that look at sentence embeddings."""

    compare: Compared = Field("example", description="what is embedded: rows, prompts or responses")
    embedder: str | None = Field(
        None,
        description="static, minilm, a folder or a hub id; models.embedder if not given",
        examples=["minilm"],
    )

    def cost(self, rows: int) -> Workload:
        """Return the embedding of all rows."""
        return Workload(embedded_rows=rows, compare=self.compare, embedder=self.embedder)


@dataclass(frozen=True)
class PoolBlocks(TableGroup):
    """The kept rows, and their embeddings as they are stored: blocks in pool order."""

    kept: Table
    blocks: tuple[Table, ...]


@dataclass(frozen=True)
class PoolEmbeddings:
    """Embeddings of the kept rows, sorted by row_id.

    So the first of equals is the one with the smallest id. A greedy choice then depends on
    neither the order of the pool nor the cut into blocks.
    """

    ids: pl.Series
    vectors: NDArray[np.float32]

    @property
    def blank(self) -> NDArray[np.bool_]:
        """Return which rows have a zero vector [N]: the embedder knows nothing in them."""
        return np.asarray(~self.vectors.any(axis=1), dtype=np.bool_)


def embed_pool(
    run: ScoreRun, compare: Compared = "example", embedder: str | None = None
) -> PoolBlocks:
    """Embed the kept rows."""
    positions = run.kept.read(["position"])["position"].to_numpy()
    blocks = embed_rows(run, run.rows, positions, compare, embedder)
    return PoolBlocks(run.kept, tuple(blocks))


def read_pool_embeddings(pool: PoolBlocks) -> PoolEmbeddings:
    """Read ids and unit (or zero) embeddings [N, d] of the kept rows; one block is held beside them.

    Raises:
        UserError: a vector is not finite.
    """
    ids = pool.kept.read(["row_id"])["row_id"]
    order = ids.arg_sort().to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    vectors: NDArray[np.float32] | None = None
    start = 0
    for block in iter_blocks(pool.blocks):
        if vectors is None:
            vectors = np.empty((len(ids), block.shape[1]), dtype=np.float32)
        vectors[place[start : start + len(block)]] = block
        start += len(block)
    if vectors is None or start != len(ids):
        raise ValueError(f"{len(ids)} rows are kept, but {start} vectors are there")
    return PoolEmbeddings(ids.gather(order), vectors)


def iter_blocks(blocks: Sequence[Table]) -> Iterator[NDArray[np.float32]]:
    """Yield blocks of embeddings [n, d], from the disk.

    Raises:
        UserError: a vector is not finite.
    """
    for block in blocks:
        vectors = block.array()
        if not np.isfinite(vectors).all():
            raise UserError("an embedding is no finite number; use another models.embedder")
        yield vectors
