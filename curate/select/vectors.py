"""Sentence vectors of the kept rows, in the order of their ids, for selectors of whole sets."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.errors import UserError
from curate.core.registry import ScoreRun, SelectParams
from curate.core.store import Artifact
from curate.core.tables import read_table
from curate.models.embed import embed_steps_at
from curate.models.index import named
from curate.text.compared import Compared

BLOCK = "block-"


class VectorParams(SelectParams):
    """What selectors take that look at sentence embeddings."""

    compare: Compared = Field("example", description="what is embedded: rows, prompts or responses")
    embedder: str | None = Field(
        None, description="static, minilm, a folder or a hub id; models.embedder if not given"
    )


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


def embed_pool(run: ScoreRun, params: VectorParams) -> dict[str, Artifact]:
    """Embed the kept rows; return them and their blocks of embeddings as the inputs of a step."""
    positions = read_table(run.kept.file("kept.parquet"))["position"].to_numpy()
    steps = embed_steps_at(run, run.rows, positions, params.compare, params.embedder)
    return {"kept": run.kept, **named(run.execute_all(steps))}


def read_pool_embeddings(inputs: Mapping[str, Artifact]) -> PoolEmbeddings:
    """Read ids and unit (or zero) embeddings [N, d] of the kept rows; one block is held beside them.

    Raises:
        UserError: a vector is not finite.
    """
    ids = read_table(inputs["kept"].file("kept.parquet"))["row_id"]
    order = ids.arg_sort().to_numpy()
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    vectors: NDArray[np.float32] | None = None
    start = 0
    for name in sorted(name for name in inputs if name.startswith(BLOCK)):
        block = np.load(inputs[name].file("vectors.npy"), allow_pickle=False)
        if not np.isfinite(block).all():
            raise UserError("an embedding is no finite number; use another models.embedder")
        if vectors is None:
            vectors = np.empty((len(ids), block.shape[1]), dtype=np.float32)
        vectors[place[start : start + len(block)]] = block
        start += len(block)
    if vectors is None or start != len(ids):
        raise ValueError(f"{len(ids)} rows are kept, but {start} vectors are there")
    return PoolEmbeddings(ids.gather(order), vectors)
