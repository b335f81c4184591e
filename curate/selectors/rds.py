"""RDS+: the rows whose representations are nearest to the target examples.

Ivison et al. 2025, arXiv:2503.01807, algorithm 1. Score S[q, i] = cosine of target example q and row
i, see curate.models.lm. Cost: one forward pass without the vocabulary head over every row.

`round_robin` (the paper's) lets the target examples take turns, each naming its best row; a row that
was named before costs the turn but no budget. `refill` lets the example name its next one instead.
`global_max` takes the rows with the largest max over q of S[q, i], as the authors' script for large
pools does under the name of the same option; a few easily matched examples can take everything.

Target examples of several tasks, told apart by their `origin`, are combined within their task, and
then the tasks take turns. The paper combines within a task by the maximum (`global_max` here).

Beside the authors' scripts on the same token ids, cosines agree to 8.3e-7 in float32, and the order of
the first 100 of 200 rows is the same (tests/benchmarks/bench_rds_authors.py).

`center` and `whiten` change the vectors before they are compared (curate.selectors.whitening): free on a
stored index, and whether it helps is a matter of the pool.

The index of the pool does not depend on the target: another target encodes its own examples and reads
the stored blocks. The search is exact, one matrix product a block. A product is what a flat faiss
index would do, and the ranking needs all similarities, not the largest alone.
"""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.core.methods import method
from curate.core.run import ScoreRun, target_of
from curate.core.workload import Workload
from curate.models.index import index_target, iter_kept_vectors
from curate.models.passes import pool_pass
from curate.selectors.combine import rank_similarities
from curate.selectors.density import gather, with_density
from curate.selectors.similarities import SimilarityParams, similarity_table
from curate.selectors.whitening import basis, transformed

VERSION = 5

NOT_FINITE = "a similarity is no finite number; models.dtype: float32 may help"


@method
class RdsSelector(SimilarityParams):
    """Nearest rows by position-weighted hidden states of the base model."""

    title: ClassVar[str] = "RDS+"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True
    rank_params: ClassVar[tuple[str, ...]] = ("combine", "temperature", "refill")
    renders_target: ClassVar[bool] = True
    scores_alone: ClassVar[bool] = True

    method: Literal["rds"] = "rds"
    refill: bool = Field(False, description="a duplicate does not cost its example the turn")
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    center: bool = Field(False, description="take the pool's mean vector from all vectors")
    whiten: int | None = Field(
        None, gt=0, description="center, and weigh this many main directions alike", examples=[128]
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Encode pool and target, then store the cosines of every row with every target example."""
        return self._score(run, run)

    def score_more(self, run: ScoreRun, rows: Table) -> Table:
        """Score further rows, centred and whitened as the run's own."""
        return self._score(run.with_kept(rows), run)

    def _score(self, run: ScoreRun, own: ScoreRun) -> Table:
        encoded = pool_pass(run, "vectors", self.max_length)
        return run(
            scores,
            kept=run.kept,
            measured=encoded.measured,
            blocks=encoded.vectors,
            target=target_of(run),
            target_vectors=index_target(run, self.max_length),
            basis=self._basis(own),
        )

    def _basis(self, run: ScoreRun) -> Table | None:
        if not self.center and self.whiten is None:
            return None
        encoded = pool_pass(run, "vectors", self.max_length)
        return run(basis, run.kept, encoded.measured, encoded.vectors, self.whiten or 0)

    def cost(self, rows: int) -> Workload:
        """Return one pass of the base model."""
        return Workload(read_rows=rows, max_length=self.max_length, heads=("vectors",))

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        return rank_similarities(
            scores, self.combine, refill=self.refill, temperature=self.temperature
        )


@cached(version=VERSION, name="score-rds")
def scores(
    kept: Table,
    measured: Table,
    blocks: Sequence[Table],
    target: Table,
    target_vectors: Table,
    basis: Table | None = None,
) -> Counted[pl.DataFrame]:
    """Return row_id, score (largest cosine), nearest_id, reason, similarities [Q], density."""
    (target_embeddings,) = transformed([target_vectors.array()], basis)

    def pool_vectors() -> Iterator[NDArray[np.floating]]:
        return transformed(iter_kept_vectors(blocks, measured, kept), basis)

    similar = (cosines(vectors, target_embeddings) for vectors in pool_vectors())
    table = similarity_table(kept, target, similar, NOT_FINITE)
    vectors_of = partial(gather, pool_vectors())
    return with_density(table, vectors_of, target_embeddings.shape[1])
