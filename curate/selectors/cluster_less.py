"""Clustered LESS: gradients of a few rows of each cluster stand for all of its rows.

    S[i, q] = mean over the rows j drawn from the cluster of i of LESS's S[j, q]

The online selector `cluster_less` of DataFlex (OpenDCAI, 2026): k-means on sentence embeddings, 64 rows
a cluster, gradients of 4 of them, and the mean scores the cluster. Here it is once, before training,
with the warm-up, gradients and `combine` of `less`, which all apply (curate.selectors.less).

Cost: an embedding of every row, and 4/64 of the gradients of `less`. It is no match for these: rows of a
cluster are equal, and go by row_id. It is meant to come first in a cascade, where `less` reads what it
keeps with the warm-up and the target's gradients that are there already:

    cascade: [{method: cluster_less, keep: 0.2}, {method: less}]

That is 1/16 + 1/5 of the gradients of `less` alone. Those of the drawn rows that are kept are computed
again: a sixteenth of what `less` then does.

Pitfalls: a cluster is what the embedder sees as similar, a topic rather than a skill, and the mean of 4
rows is a rough one. So keep several times the budget. A row without a known token has no score, nor has
one of a cluster of which no drawn row has a response within max_length.
"""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun, target_of
from curate.core.workload import ResponseLimit, Workload
from curate.models.neighbours.inverted import faiss_kernels
from curate.selectors.clusters import scores as cluster_rows
from curate.selectors.less import LessParams, score_gradients, score_table
from curate.selectors.scored import BLANK
from curate.selectors.similarities import task_numbers
from curate.selectors.vectors import embed_pool

VERSION = 1
SALT = 0xC1E55
NO_GRADIENT = "no row that stands for its cluster has a response within max_length"


@method
class ClusterLessSelector(LessParams):
    """Clusters of rows by the gradient similarity of a few of them: what comes before LESS."""

    title: ClassVar[str] = "clustered LESS"
    version: ClassVar[int] = VERSION

    method: Literal["cluster_less"] = "cluster_less"
    cluster_rows: int = Field(64, gt=0, description="rows a cluster, in the mean")
    drawn_rows: int = Field(4, gt=0, description="rows of each cluster that get gradients")
    embedder: str | None = Field(
        None, description="of the clusters; models.embedder if not given", examples=["minilm"]
    )

    @model_validator(mode="after")
    def _check(self) -> "ClusterLessSelector":
        if self.combine == "knn_kde":
            raise ValueError(
                "combine: knn_kde needs the vectors of all rows, and here a few of each cluster have "
                "any; take another one"
            )
        return self

    def score_rows(self, run: ScoreRun) -> Table:
        """Cluster the rows, score a draw of each cluster as LESS does, then store the means."""
        count = max(1, round(run.kept.height / self.cluster_rows))
        embedded = embed_pool(run, "example", self.embedder)
        clusters = run(cluster_rows, embedded, clusters=count, kernels=faiss_kernels())
        sample = run(draw, run.kept, clusters, self.drawn_rows, run.seed)
        gradients = score_gradients(run.with_kept(sample), self, warmed=run)
        return run(scores, run.kept, target_of(run), clusters, gradients)

    def cost(self, rows: int) -> Workload:
        """Return the embedding of all rows, and the gradients of a few."""
        drawn = min(rows, -(-rows * self.drawn_rows // self.cluster_rows))
        return Workload(
            read_rows=self.warmup.cost(rows) + self.gradient_cost(drawn),
            max_length=self.max_length,
            limit=ResponseLimit(self.max_length),
            gradients=True,
            embedded_rows=rows,
            embedder=self.embedder,
        )


@cached(version=VERSION, name="cluster-draw", title="Draw rows of each cluster")
def draw(kept: Table, clusters: Table, count: int, seed: int) -> pl.DataFrame:
    """Return row_id and position of so many rows of each cluster, in pool order; the first in a draw.

    Rows of which the embedder knows nothing are not among them.

    Raises:
        UserError: those are all.
    """
    rows = clusters.read(["row_id", "score", "cluster"]).drop_nulls("score").sort("row_id")
    if not rows.height:
        raise UserError(
            f"cluster_less: the embedder knows nothing in any of {kept.height:,} rows; use another one"
        )
    turns = np.random.default_rng([seed, SALT]).permutation(rows.height)
    place = pl.Series("turn", turns)
    first = rows.with_columns(place).filter(pl.col("turn").rank("ordinal").over("cluster") <= count)
    return kept.read().join(first, on="row_id", how="semi", maintain_order="left")


@cached(version=VERSION, name="score-cluster_less")
def scores(kept: Table, target: Table, clusters: Table, gradients: Table) -> Counted[pl.DataFrame]:
    """Return row_id, score, reason, nearest_id, similarities [Q], cluster.

    Similarities are left out where those of the drawn rows are.
    """
    own = clusters.read(["row_id", "score", "cluster"])
    drawn = gradients.read().join(
        own.select("row_id", "cluster"), on="row_id", maintain_order="left"
    )
    by_example = "similarities" in drawn.columns
    values = drawn["similarities" if by_example else "score"].to_numpy().reshape(drawn.height, -1)
    scored = drawn["score"].is_not_null().to_numpy()
    numbers = own["cluster"].to_numpy()
    means = cluster_means(
        values[scored], drawn["cluster"].to_numpy()[scored], int(numbers.max()) + 1
    )
    rows = kept.read(["row_id"]).join(own, on="row_id", how="left", maintain_order="left")
    similarities = means[rows["cluster"].to_numpy()]
    similarities[rows["score"].is_null().to_numpy()] = np.nan
    tasks = task_numbers(target.read(["origin"])["origin"]) if by_example else [0]
    frame = score_table(
        kept, target, similarities, np.array(tasks), by_example=by_example, reason=NO_GRADIENT
    )
    blank = pl.when(rows["score"].is_null()).then(pl.lit(BLANK))
    frame = frame.with_columns(reason=pl.coalesce(blank, "reason"), cluster=rows["cluster"])
    return Counted(frame, {"unscored": frame["score"].null_count(), "drawn": gradients.height})


def cluster_means(
    values: NDArray[np.floating], own: NDArray[np.int64], clusters: int
) -> NDArray[np.float32]:
    """Return the mean [clusters, Q] of the values [n, Q] of each cluster; NaN where it has none."""
    sums, counts = np.zeros((clusters, values.shape[1])), np.bincount(own, minlength=clusters)
    np.add.at(sums, own, values)
    means = np.full(sums.shape, np.nan, dtype=np.float32)
    means[counts > 0] = sums[counts > 0] / counts[counts > 0, None]
    return means
