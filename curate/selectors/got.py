"""GOT: the rows that pull the pool towards the target, by the gradient of optimal transport.

Kang et al. 2024, "Get more for less", arXiv:2405.02774; the gradient is that of Just et al. 2023, LAVA,
arXiv:2305.00054. Let T target examples and N rows carry equal mass, at costs C[q, i] = 1 - cosine of
their sentence embeddings. Entropic optimal transport has potentials f [T] and g [N] with

    f_q = -e log of the mean over i of exp((g_i - C[q, i]) / e)
    g_i = -e log of the mean over q of exp((f_q - C[q, i]) / e)

and g_i, less the mean of g, is how fast the distance grows with the mass of row i. The rows with the
lowest g come first: more of them shortens the distance fastest. score = mean of g - g_i.

With `reference`, rows like those that the model has learned from already, the transport is solved
between these and the target, as published: fine-tuning mixes a little of the selection into what the
model was pretrained on, and the pool is no more than candidates. f is that of the reference, each row
has its g_i by the second formula, and the mean is the reference's. So a score above 0 says that the row
brings the reference nearer to the target, and one below 0 that it leads away; what the reference has
plenty of is worth little, however near the target it is. Without one the pool stands for it, which is
what the authors do where the pretraining data are not at hand. Their setting of two phases, the
selection and then the target's own task, is `prove: {then: target}`.

As e goes to 0, g_i = min over q of C[q, i] - f_q: the distance to the nearest example, less a bonus f_q
for examples that few rows are near to. That bonus is what nearest neighbours lack. As e grows, g_i goes
to the mean distance to all examples. `epsilon` is e in units of the median cost (the authors' 0.1 is
absolute, so it means another thing for every embedding).

Sinkhorn's iterations need f alone, T numbers. With P[q, i] = softmax over q of (f_q - C[q, i]) / e all
of row i's mass is shared out, and f_q falls by e log(T mean over i of P[q, i]) until each example gets
1 / T of all mass. Costs are computed anew in blocks for each iteration, N x T x width each, so there is
no N x T matrix. They end when the shares are within TOLERANCE, in sum; what is left is in the counts.

Pitfalls: potentials compare within one solution only. A row like no example is never chosen, however
good. Rows are judged one by one: copies of a good row are all good, so deduplicate first. The
calibration of the authors' code (g_i against the mean of the others) never changes the order, so it is
left out; their notebook pairs texts and embeddings in different orders, so it is no reference.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.fixedpoint import cosines
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.models.embed import embed_rows
from curate.pool.rowset import RowSet, row_set
from curate.pool.settings import RowFile
from curate.selectors.pool_target import (
    PoolAndTarget,
    embed_pool_and_target,
    iter_pool_embeddings,
    read_target_embeddings,
)
from curate.selectors.scored import BLANK, blank_out
from curate.selectors.similarities import DECIMALS, rank_scores
from curate.selectors.vectors import VectorParams, iter_blocks

VERSION = 3
LOG = logging.getLogger("curate")
TOLERANCE = 1e-4
MOST_ROUNDS = 2_000
# A block of costs is 16 MB.
BLOCK_COSTS = 2_097_152
MEDIAN_BINS = 10_000

Costs = Callable[[], Iterator[NDArray[np.float64]]]


@method
class GotSelector(VectorParams):
    """Rows whose mass lowers the optimal transport distance to the target fastest."""

    title: ClassVar[str] = "optimal transport"
    version: ClassVar[int] = VERSION
    needs_target: ClassVar[bool] = True

    method: Literal["got"] = "got"
    epsilon: float = Field(
        0.1, gt=0, description="of the median cost: lower is closer to unregularised transport"
    )

    reference: RowFile | None = Field(
        None,
        description="rows like those that the model has learned from; the pool's own if not given",
        examples=[{"path": "pretraining.jsonl", "sample": 3000}],
    )

    def score_rows(self, run: ScoreRun) -> Table:
        """Embed pool, target and reference, then solve the transport between the last two."""
        embedded = embed_pool_and_target(run, self.compare, self.embedder)
        return run(scores, embedded, self.epsilon, self._embed_reference(run))

    def check(self) -> None:
        """Fail if the files of the reference are not there.

        Raises:
            UserError: they are not.
        """
        self.reference_rows(0)

    def reference_rows(self, seed: int) -> RowSet | None:
        """Return the rows of the reference, where one is given.

        Raises:
            UserError: a file is not there.
        """
        if self.reference is None:
            return None
        named = self.reference.model_copy(update={"source": self.reference.source or "reference"})
        keys = ["select.reference"]
        return row_set("got-reference", [named], seed=seed, max_rejected=0.0, keys=keys)

    def _embed_reference(self, run: ScoreRun) -> Sequence[Table] | None:
        reference = self.reference_rows(run.seed)
        if reference is None:
            return None
        rows = reference.read(run)
        return embed_rows(run, rows, np.arange(rows.height), self.compare, self.embedder)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        return rank_scores(scores)


@dataclass(frozen=True)
class Potentials:
    """The potentials f [T] and g [N], and how they were reached.

    error is the sum over target examples of |share of all mass - 1 / T|.
    """

    examples: NDArray[np.float64]
    rows: NDArray[np.float64]
    rounds: int
    error: float


@cached(version=VERSION, name="score-got")
def scores(
    embedded: PoolAndTarget, epsilon: float, reference: Sequence[Table] | None = None
) -> Counted[pl.DataFrame]:
    """Return row_id, score (mean potential less the row's), nearest_id (by cost).

    Args:
        embedded: the kept rows and the target.
        epsilon: of the median cost of the transport.
        reference: vectors of the rows whose transport is solved, in blocks; the kept ones if None.
    """
    target_embeddings = read_target_embeddings(embedded)
    costs = partial(_costs, embedded.blocks, target_embeddings)
    solved = partial(_costs, reference or embedded.blocks, target_embeddings)
    scale = epsilon * median_cost(solved)
    potentials = solve(solved, len(target_embeddings), scale)
    rows = row_potentials(potentials.examples, costs, scale) if reference else potentials.rows
    if potentials.error > TOLERANCE:
        LOG.warning(
            "got: shares are off by %.1e after %d rounds", potentials.error, potentials.rounds
        )
    nearest = np.concatenate([cost.argmin(axis=0) for cost in costs()])
    target_ids = embedded.target.read(["row_id"])["row_id"]
    frame = pl.DataFrame(
        {
            "row_id": embedded.kept.read(["row_id"])["row_id"],
            # Equal texts get equal scores: where a row lies in a block moves the last digits.
            "score": (potentials.rows.mean() - rows).round(DECIMALS),
            "nearest_id": target_ids.gather(nearest),
        }
    )
    blank = np.concatenate([~block.any(axis=1) for block in iter_pool_embeddings(embedded)])
    frame = blank_out(frame, blank | ~target_embeddings.any(), BLANK)
    counts = {
        "epsilon": scale,
        "rounds": potentials.rounds,
        "share_error": round(potentials.error, 12),
        "converged": potentials.error <= TOLERANCE,
    }
    return Counted(frame, counts)


def _costs(
    blocks: Sequence[Table], target_embeddings: NDArray[np.float32]
) -> Iterator[NDArray[np.float64]]:
    """Yield the costs [T, n] of rows, block by block."""
    size = max(BLOCK_COSTS // len(target_embeddings), 1)
    for block in iter_blocks(blocks):
        for start in range(0, len(block), size):
            yield 1 - cosines(target_embeddings, block[start : start + size])


def median_cost(costs: Costs) -> float:
    """Return the lower median of all costs to 1e-4, above 0; the order of rows has no part in it."""
    counts = np.zeros(2 * MEDIAN_BINS + 2, dtype=np.int64)
    for cost in costs():
        bins = (cost.ravel().clip(0, 2) * MEDIAN_BINS).astype(np.int64)
        counts += np.bincount(bins, minlength=len(counts))
    middle = int(np.searchsorted(np.cumsum(counts), counts.sum() / 2))
    return (middle + 0.5) / MEDIAN_BINS


def solve(costs: Costs, examples: int, epsilon: float, tolerance: float = TOLERANCE) -> Potentials:
    """Return the potentials of entropic transport between equal masses.

    Args:
        costs: makes blocks of costs [T, n], the same ones in the same order each time.
        examples: T.
        epsilon: of the entropy, in units of the costs.
        tolerance: of the examples' shares, in sum.
    """
    potential = np.zeros(examples)
    rounds, error = 0, np.inf
    while error > tolerance and rounds < MOST_ROUNDS:
        shares, count = np.zeros(examples), 0
        for cost in costs():
            chances, _ = _share_out(potential, cost, epsilon)
            shares += chances.sum(axis=1, dtype=np.float64)
            count += cost.shape[1]
        shares *= examples / count
        error = float(np.abs(shares - 1).mean())
        if error > tolerance:
            potential -= epsilon * np.log(np.maximum(shares, np.finfo(np.float32).tiny))
        rounds += 1
    return Potentials(potential, row_potentials(potential, costs, epsilon), rounds, error)


def row_potentials(
    potential: NDArray[np.float64], costs: Costs, epsilon: float
) -> NDArray[np.float64]:
    """Return the potential g [N] of rows by that of the examples f [T]."""
    return np.concatenate([_share_out(potential, cost, epsilon)[1] for cost in costs()])


def _share_out(
    potential: NDArray[np.float64], cost: NDArray[np.float64], epsilon: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return each row's chances over examples [T, n] and its potential [n], in the log domain."""
    exponents = (potential[:, None] - cost) / epsilon
    highest = exponents.max(axis=0)
    chances = np.exp(exponents - highest)
    totals = chances.sum(axis=0)
    rows = -epsilon * (highest + np.log(totals) - np.log(len(potential)))
    return chances / totals, rows
