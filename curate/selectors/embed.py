"""Embedding similarity: the rows whose sentence embeddings are nearest to the target examples'.

The baseline of Ivison et al. 2025 (arXiv:2503.01807, table 1: 46.4 against 50.5 of RDS+ from the large
pool, 41.1 of random). Similarity = cosine of two unit vectors, so long rows have no advantage as such.
Cost: one pass of the embedder over the rows; then rows x examples x width.

`round_robin` lets the examples take turns, `global_max` takes rows by their nearest example, `mean` by
the mean over all examples. For unit vectors that is the cosine to the centre of the target but for a
factor: right for one narrow skill, between the skills for several.

Pitfalls: a static embedder sees words without their order, and a transformer only the start of a long
row (256 tokens for minilm). Both see topics better than tasks: a row that asks for something else of a
similar message is near. A row without a known token has no score.
"""

from functools import partial
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.selectors.density import gather, with_density
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
)
from curate.selectors.scored import BLANK
from curate.selectors.similarities import SimilarityParams, similarity_table
from curate.selectors.vectors import VectorParams

VERSION = 5


@method
class EmbedSelector(SimilarityParams, VectorParams):
    """Nearest rows by sentence embeddings."""

    title: ClassVar[str] = "embedding similarity"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True
    scores_alone: ClassVar[bool] = True

    method: Literal["embed"] = "embed"

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed pool and target, then store the cosines of every row with every target example."""
        return run(scores, embed_pool_and_target(run, self.compare, self.embedder))


@cached(version=VERSION, name="score-embed")
def scores(embedded: PoolAndTarget) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest cosine), nearest_id, reason, similarities [Q], density."""
    target_embeddings = read_target_embeddings(embedded)
    blocks = (cosines_or_nan(block, target_embeddings) for block in iter_pool_embeddings(embedded))
    table = similarity_table(embedded.kept, embedded.target, blocks, BLANK)
    vectors_of = partial(gather, iter_pool_embeddings(embedded))
    return with_density(table, vectors_of, target_embeddings.shape[1])


def cosines_or_nan(
    rows: NDArray[np.float32], target_embeddings: NDArray[np.float32]
) -> NDArray[np.float64]:
    """Return the cosines [n, Q] of rows with target examples, NaN where nothing is known of a row.

    So it is of all rows where nothing is known of any target example.
    """
    similar = cosines(rows, target_embeddings)
    similar[~rows.any(axis=1) | ~target_embeddings.any()] = np.nan
    return similar
