"""LESS: the rows whose gradients point where the target examples' gradients point.

Xia et al. 2024, arXiv:2402.04333. A LoRA warm-up on a random 5 % leaves a checkpoint c after each of
its epochs, of mean learning rate w_c (scaled to sum to 1). Between row i and target example q

    S[i, q] = sum_c w_c cos(G_c(i), g_c(q))

with g the plain gradient of the adapters and G the direction that Adam would take from g with the
state it had. A row's score is the largest over subtasks of the mean of S over the subtask's examples:
a mean of cosines, not the cosine of the mean gradient. Subtasks are the `origin`s of the target rows.
That is `combine: subtask_max`, the published rule. Every other one of curate.selectors.combine is a
re-ranking of the same S; with gradients, `round_robin` is the best tested (arXiv:2602.14696).

Cost: for each checkpoint a forward and a backward pass over every row, 3 to 4 times the passes of
RDS+ and more of them. Where targets are known (`way: exact`) nothing is projected; `datastore` stores
projected features, for other targets later. On 160 rows and 20 examples of the bundled pool (one
checkpoint of SmolLM2-135M, dim 8,192), Spearman's correlation of its scores with exact ones is .989, of
the best tenth 94 % are the same, and int8 differs from float16 in no rank that this shows: it is the
projection that costs (tests/benchmarks/bench_datastore.py 160).

Cosines of plain gradients (`eps_mode: sgd`) agree with those of bergson 2.5.1, an independent
implementation, to 6.8e-5 on 200 rows (tests/benchmarks/bench_bergson.py).

Departures from the authors' code, beside what curate.models.warmup and .gradients say: subtasks
may differ in size (theirs are cut into equal parts, by fixed numbers for three benchmarks); a batch
does not scale its rows; a row without a response within max_length has no score instead of a NaN.
Short responses have large gradients, but cosines take no notice of length.
"""

import logging
from collections.abc import Iterator, Sequence
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.params import Params
from curate.core.run import ScoreRun, target_of
from curate.core.selector import Selector
from curate.core.store import Artifact, Counts
from curate.core.workload import GRADIENT_COST, TRAINING_COST, ResponseLimit, Workload
from curate.models.features import read_row_features
from curate.models.influence import (
    pool_and_target_features,
    pool_similarities,
    read_columns,
    read_similarities,
    target_gradients,
    target_gram,
)
from curate.models.warmup import checkpoint_shares, drawn_rows, warm_up
from curate.selectors.combine import COMBINE, Combine
from curate.selectors.density import with_density
from curate.selectors.similarities import (
    DECIMALS,
    SimilarityParams,
    rank_scores,
    task_numbers,
    with_tasks,
)
from curate.selectors.subspace import subspace_similarities

LOG = logging.getLogger("curate")
VERSION = 3
UNSCORED = "no response within max_length"
TOO_LARGE = (
    "needs the similarity to each target example, and these gradients are too large to keep the "
    "examples apart; use subtask_max, way: datastore or fewer target examples"
)


class Warmup(Params):
    """The LoRA fine-tune that makes the checkpoints; what is not given is scaled to the model."""

    fraction: float = Field(0.05, gt=0, le=1, description="of the kept rows; at least 64 rows")
    epochs: int = Field(4, gt=0, description="each leaves a checkpoint, and each costs a pass")
    rank: int | None = Field(
        None, gt=0, description="128 at hidden size 4,096, less below", examples=[32]
    )
    alpha: int | None = Field(None, gt=0, description="4 x rank", examples=[128])
    learning_rate: float | None = Field(
        None, gt=0, description="2e-5 at hidden size 4,096, more below", examples=[0.0002]
    )
    batch_rows: int | None = Field(
        None, gt=0, description="128, fewer with few rows", examples=[16]
    )
    targets: list[str] = Field(
        ["q_proj", "k_proj", "v_proj", "o_proj"],
        min_length=1,
        description="the linear layers that get LoRA weights",
    )

    def cost(self, rows: int) -> int:
        """Return what the fine-tune takes, in rows that are read, where so many rows are kept."""
        return round(TRAINING_COST * self.epochs * drawn_rows(rows, self.fraction))


class LessParams(SimilarityParams):
    """Base of selectors that rank rows by their gradients' similarities to those of target examples."""

    needs_target: ClassVar[bool] = True
    renders_target: ClassVar[bool] = True

    combine: Combine = Field("subtask_max", description=COMBINE)
    way: Literal["exact", "datastore"] = Field(
        "exact", description="datastore keeps projected features for other targets"
    )
    eps_mode: Literal["less_code", "adamw", "sgd"] = Field(
        "less_code",
        description="Adam's epsilon: inside the root, as published, or outside; sgd: plain gradients",
    )
    subspace: int | None = Field(
        None,
        gt=0,
        description="compare within this many main directions of the target's gradients (GIST)",
        examples=[10],
    )
    shrink: float = Field(
        0.1, ge=0, description="of subspace: keeps rows low that lie outside; 0 as published"
    )
    dim: int = Field(8192, gt=0, description="numbers a projected feature; datastore only")
    precision: Literal["float16", "int8"] = Field("float16", description="datastore only")
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")
    warmup: Warmup = Warmup()

    @model_validator(mode="after")
    def _check(self) -> "LessParams":
        if self.combine == "knn_kde" and self.way == "exact":
            raise ValueError("combine: knn_kde needs way: datastore, which keeps vectors of rows")
        return self

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id, rows without a score last."""
        if self.combine == "subtask_max":
            return rank_scores(scores)
        if "similarities" not in scores.columns:
            raise UserError(f"select.combine: {self.combine} {TOO_LARGE}")
        return super().rank(scores, seed)

    def gradient_cost(self, rows: int) -> int:
        """Return what the gradients of so many rows take, in rows that are read."""
        return round(GRADIENT_COST * self.warmup.epochs * rows)


@method
class LessSelector(LessParams):
    """Rows whose training would lower the loss of the target examples, by gradient similarity."""

    title: ClassVar[str] = "LESS"
    version: ClassVar[int] = VERSION
    # With the warm-up of the run's own rows, which `score_more` keeps.
    scores_alone: ClassVar[bool] = True

    method: Literal["less"] = "less"

    def score_rows(self, run: ScoreRun) -> Table:
        """Tune, take gradients of target and pool, then store what every row scores."""
        return score_gradients(run, self, warmed=run)

    def score_more(self, run: ScoreRun, rows: Table) -> Table:
        """Take gradients of further rows, with the warm-up of the run's own."""
        return score_gradients(run.with_kept(rows), self, warmed=run)

    def takes_over(self, earlier: Selector) -> bool:
        """Return whether another method has the same warm-up."""
        return (
            isinstance(earlier, LessParams)
            and earlier.warmup == self.warmup
            and earlier.max_length == self.max_length
        )

    def cost(self, rows: int) -> Workload:
        """Return the passes of the base model, which must see some of a response."""
        read = self.warmup.cost(rows) + self.gradient_cost(rows)
        limit = ResponseLimit(self.max_length)
        return Workload(read_rows=read, max_length=self.max_length, limit=limit, gradients=True)


def score_gradients(run: ScoreRun, params: LessParams, warmed: ScoreRun) -> Table:
    """Return what the kept rows of a run score, with the warm-up on those of another."""
    target = target_of(run)
    lora, length = params.warmup.model_dump(mode="json"), params.max_length
    warmup = warm_up(warmed, lora, length)
    subtasks = task_numbers(target.read(["origin"])["origin"])
    if params.way == "exact":
        gradients = target_gradients(run, warmup, subtasks, length)
        blocks = pool_similarities(run, warmup, gradients, params.eps_mode, length)
    else:
        *blocks, gradients = pool_and_target_features(
            run, warmup, params.eps_mode, length, params.dim, params.precision
        )
    gram = _gram(run, params, warmup, gradients, len(subtasks))
    shrink = None if gram is None else params.shrink
    table = run(
        scores, run.kept, target, warmup, gradients, blocks, subtasks, gram, params.subspace, shrink
    )
    for line in _remarks(table.artifact.counts):
        LOG.info("less: %s", line)
    return table


def _gram(
    run: ScoreRun, params: LessParams, warmup: Artifact, gradients: Artifact, examples: int
) -> Table | None:
    """Return the target's cosines with itself, which similarities in a subspace need.

    Raises:
        UserError: there are fewer target examples than directions, or they are not kept apart.
    """
    if params.subspace is None:
        return None
    if params.subspace > examples:
        raise UserError(
            f"select.subspace: {examples} target examples have {examples} directions at most, not "
            f"{params.subspace}"
        )
    if not gradients.counts["by_example"]:
        raise UserError(f"select.subspace: {params.subspace} {TOO_LARGE}")
    return run(target_gram, gradients, len(checkpoint_shares(warmup)))


def _remarks(counts: Counts) -> Iterator[str]:
    """Yield what a user may want to know of the gradients."""
    if counts["unscored"]:
        yield f"{counts['unscored']:,} rows have no response to take a gradient of"
    if counts["adaptive_share"] is not None:
        yield (
            f"Adam's second moment is above its epsilon in {100 * counts['adaptive_share']:.2g} % of "
            "the coordinates"
        )
    if counts["momentum_share"] is not None:
        yield (
            f"momentum, the same for all rows, is {counts['momentum_share']:.0%} of a direction's "
            "squared length before it is scaled (eps_mode: sgd has none)"
        )


@cached(version=VERSION, name="score-less")
def scores(
    kept: Table,
    target: Table,
    warmup: Artifact,
    gradients: Artifact,
    blocks: Sequence[Artifact],
    subtasks: Sequence[int],
    gram: Table | None = None,
    directions: int | None = None,
    shrink: float | None = None,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, reason, nearest_id, similarities [Q], density (datastore only).

    A row without a score has a reason. The nearest is the most similar example of the best subtask;
    it is null, and similarities are left out, where the target's gradients were too large to keep
    apart. The similarities of a row without a score are NaN.
    """
    inside = None
    if gram is not None and directions is not None and shrink is not None:
        inside = partial(_inside, gram.array(), directions, shrink)
    similarities = read_similarities(blocks, gradients, checkpoint_shares(warmup), inside)
    column_tasks, by_example = read_columns(gradients, subtasks)
    frame = score_table(
        kept, target, similarities, column_tasks, by_example=by_example, reason=UNSCORED
    )
    table = Counted(frame, {"unscored": frame["score"].null_count(), **_shares(blocks)})
    if "features-0.npy" not in blocks[0].files:
        return table
    weights = checkpoint_shares(warmup)
    return with_density(table, partial(read_row_features, blocks, weights), _width(blocks, weights))


def score_table(
    kept: Table,
    target: Table,
    similarities: NDArray[np.float32],
    column_tasks: NDArray[np.int64],
    *,
    by_example: bool,
    reason: str,
) -> pl.DataFrame:
    """Return row_id, score, reason, nearest_id and, where columns are examples, similarities.

    Args:
        kept: the rows.
        target: the target examples.
        similarities: [rows, columns], NaN in a row without a score.
        column_tasks: the subtask of each column.
        by_example: whether columns are target examples.
        reason: why a row has no score.
    """
    similarities = similarities.round(DECIMALS)
    means = np.stack(
        [similarities[:, column_tasks == s].mean(axis=1) for s in np.unique(column_tasks)], axis=1
    )
    scored = np.isfinite(means).all(axis=1)
    frame = kept.read(["row_id"]).select(
        "row_id",
        score=pl.Series(means.max(axis=1)).fill_nan(None),
        reason=pl.when(~pl.Series(scored)).then(pl.lit(reason)),
        nearest_id=pl.lit(None, dtype=pl.String),
    )
    if not by_example:
        return frame
    ids = target.read(["row_id"])["row_id"]
    frame = frame.with_columns(
        nearest_id=pl.when(pl.Series(scored)).then(
            ids.gather(nearest(similarities, means, column_tasks))
        ),
        similarities=pl.Series(similarities, dtype=pl.Array(pl.Float32, len(ids))),
    )
    return with_tasks(frame, column_tasks.tolist())


def _inside(
    grams: NDArray[np.float64],
    directions: int,
    shrink: float,
    similarities: NDArray[np.floating],
    checkpoint: int,
) -> NDArray[np.float64]:
    return subspace_similarities(similarities, grams[checkpoint], directions, shrink)


def _width(blocks: Sequence[Artifact], weights: Sequence[float]) -> int:
    """Return how many numbers the stored features of a row have, over all checkpoints."""
    stored = np.load(blocks[0].file("features-0.npy"), mmap_mode="r", allow_pickle=False)
    return len(weights) * int(stored.shape[1])


def _shares(blocks: Sequence[Artifact]) -> dict[str, float | None]:
    """Return in what share of coordinates Adam adapts, and what share of its direction is momentum."""
    names = ("adaptive", "coordinates", "inertia", "pull")
    adaptive, seen, inertia, pull = (sum(b.counts.get(name, 0) for b in blocks) for name in names)
    return {
        "adaptive_share": adaptive / seen if seen else None,
        "momentum_share": inertia / (inertia + pull) if inertia + pull else None,
    }


def nearest(
    similarities: NDArray[np.float32], means: NDArray[np.float32], subtasks: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Return the column of each row's most similar example within its best subtask."""
    best = np.unique(subtasks)[means.argmax(axis=1)]
    inside = np.where(np.equal.outer(best, subtasks), similarities, -np.inf)
    columns: NDArray[np.int64] = inside.argmax(axis=1)
    return columns
