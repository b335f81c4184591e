"""Cluster-balanced: clusters of similar rows take turns, whatever their sizes.

Spherical k-means on sentence embeddings; each cluster in turn, the largest first, gives its next row:
the one nearest to the centre (`within: nearest`, as prototypes of the cluster) or a random one. Used
in several forms as a selector of instruction data, for instance to draw the seeds of Cherry LLM (Li et
al. 2024, arXiv:2308.12032). Without turns a random draw has the clusters in proportion to their sizes.

    default number of clusters: about the square root of the number of rows

With `by` the groups are given (source, origin, a field, a column of evidence such as a language), and
the centre of a group is its mean.

Cost: rows x clusters x width multiplications, twenty times on a sample of 256 rows a cluster and once
on all.

Pitfalls: a cluster is what the embedder sees as similar, often a template rather than a skill.
`nearest` gives the most typical rows, and copies of them, so deduplicate before. Small clusters are
emptied soon; a budget beyond that is made up of large ones.
"""

from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import fixed_point, paired_cosines
from curate.core.lazy import lazy_module
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.models.neighbours.inverted import faiss_kernels, one_faiss_thread
from curate.selectors.groups import BY, By, group_evidence, read_groups
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.vectors import (
    PoolBlocks,
    PoolEmbeddings,
    VectorParams,
    embed_pool,
    read_pool_embeddings,
)

if TYPE_CHECKING:
    import faiss
else:
    faiss = lazy_module("faiss")

VERSION = 3
SALT = 0xC1D5
ROUNDS = 20
SEED = 0


@method
class ClustersSelector(VectorParams):
    """Clusters of similar rows, or groups, take turns."""

    title: ClassVar[str] = "balanced clusters"
    version: ClassVar[int] = VERSION
    evidence_keys: ClassVar[tuple[str, ...]] = ("by",)
    on_targets: ClassVar[str] = "within the range of random draws on all 8"
    rank_params: ClassVar[tuple[str, ...]] = ("within",)

    method: Literal["clusters"] = "clusters"
    clusters: int | None = Field(
        None,
        gt=0,
        description="how many; about the square root of the number of rows if not given",
        examples=[50],
    )
    within: Literal["nearest", "random"] = Field(
        "nearest", description="in a cluster, rows nearest to its centre first, or any order"
    )
    by: By | None = Field(
        None, description=f"groups instead of clusters: {BY}", examples=["origin"]
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed the rows and store the cluster of each, with its cosine to the centre."""
        if self.by is not None:
            embedded = embed_pool(run, self.compare, self.embedder)
            return run(group_scores, embedded, run.rows, self.by, group_evidence(run, self.by))
        rows = run.kept.height
        count = min(self.clusters or round(rows**0.5), rows)
        return run(
            scores,
            embed_pool(run, self.compare, self.embedder),
            clusters=count,
            kernels=faiss_kernels(),
        )

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers by turns; ties in a cluster go to the smaller row_id."""
        by_id = scores["row_id"].arg_sort().to_numpy().astype(np.int64)
        clusters, near = scores["cluster"].to_numpy()[by_id], scores["score"].to_numpy()[by_id]
        if self.within == "random":
            near = np.random.default_rng([seed, SALT]).permutation(len(by_id))
        sizes = np.bincount(clusters)
        largest_first = np.argsort(np.argsort(-sizes, kind="stable"))
        order = np.lexsort((-near, clusters))
        turn = np.arange(len(order)) - (np.cumsum(sizes) - sizes)[clusters[order]]
        seat = turn * len(sizes) + largest_first[clusters[order]]
        return by_id[order[np.argsort(seat)]]


@cached(version=VERSION, name="score-clusters")
def scores(embedded: PoolBlocks, clusters: int, kernels: str) -> Counted[pl.DataFrame]:
    """Return row_id, score (cosine to the centre), nearest_id, cluster.

    `kernels` are what faiss computes with, which can change the result.
    """
    pool = read_pool_embeddings(embedded)
    return _cluster_table(pool, *find_clusters(pool.vectors, clusters))


@cached(version=VERSION, name="score-groups")
def group_scores(
    embedded: PoolBlocks, rows: Table, by: str, evidence: Table | None = None
) -> Counted[pl.DataFrame]:
    """Return what `scores` does, with groups as clusters and the mean of each as its centre."""
    pool = read_pool_embeddings(embedded)
    groups = read_groups(rows, embedded.kept, by, evidence).sort("row_id")["group"]
    own = groups.rank("dense").to_numpy().astype(np.int64) - 1
    points = fixed_point(pool.vectors)
    centres = np.stack([points[own == number].mean(axis=0) for number in range(own.max() + 1)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), np.finfo(float).tiny)
    near = paired_cosines(pool.vectors, centres[own]).astype(np.float32)
    return _cluster_table(pool, own, near)


def _cluster_table(
    pool: PoolEmbeddings, own: NDArray[np.int64], cosines: NDArray[np.float32]
) -> Counted[pl.DataFrame]:
    frame = pl.DataFrame(
        {
            "row_id": pool.ids,
            "score": cosines,
            "nearest_id": pl.Series([None] * len(own), dtype=pl.String),
            "cluster": own,
        }
    )
    frame = blank_out(frame, pool.blank, BLANK)
    return Counted(frame, {"clusters": len(np.unique(own))})


def find_clusters(
    vectors: NDArray[np.float32], count: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the number of each row's cluster [N], and its cosine to the centre [N]."""
    means = faiss.Kmeans(
        vectors.shape[1], count, niter=ROUNDS, seed=SEED, spherical=True, min_points_per_centroid=1
    )
    with one_faiss_thread():
        means.train(vectors)
        cosines, own = means.index.search(vectors, 1)
    return own[:, 0], cosines[:, 0]
