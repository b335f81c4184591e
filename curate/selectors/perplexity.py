"""Perplexity: rows that the base model finds easy, middling or hard to predict.

Yin and Rush 2024, "Compute-Constrained Data Selection", arXiv:2410.16208, as run by Ivison et al. 2025,
arXiv:2503.01807: the mean loss of a row's tokens, prompt included, under the model before tuning. The
perplexity is its exponential, in the same order. Cost: one forward pass over every row; with
`of: response` the vocabulary head runs on the response alone.

`mid` takes rows from the middle of the order: by default those whose rank is nearest to the median's,
at any budget. The published code does something else than the 33rd to 66th percentile it speaks of: it
sorts from the highest loss down and takes K rows from position int(0.33 N) on, so a small budget comes
from the upper third's edge. `mid: reference` gives exactly its rows as long as they last, and after the
lowest loss goes on above its start, upwards.

Both are baselines: in arXiv:2503.01807 they lose to random on mixed pools. `high` finds noise and other
languages, `low` finds boilerplate; a long prompt drowns the response in `of: all`.
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.store import Artifact
from curate.core.workload import ResponseLimit, Workload
from curate.models.losses import mean_loss, read_losses
from curate.models.passes import pool_pass

VERSION = 1
REFERENCE_START = 0.33
NOTHING_READ = "no token to predict within max_length"


@method
class PerplexitySelector(Selector):
    """Easy, middling or hard rows by the base model's loss."""

    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "worse than random draws on 1, within their range on 7"
    rank_params: ClassVar[tuple[str, ...]] = ("of", "prefer", "mid")
    scores_alone: ClassVar[bool] = True

    method: Literal["perplexity"] = "perplexity"
    of: Literal["all", "response"] = Field(
        "all", description="all tokens of a row, or the response given its prompt"
    )
    prefer: Literal["low", "mid", "high"] = Field(
        "mid", description="losses that come first: rows that are easy, middling or hard"
    )
    mid: Literal["median", "reference"] = Field(
        "median", description="reference: from rank 0.33 N on, highest loss first"
    )
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    def score_rows(self, run: ScoreRun) -> Table:
        """Measure the losses of kept rows, then store their means."""
        read = pool_pass(run, self.of, self.max_length)
        return run(scores, run.kept, read.measured, read.blocks, self.of, self.prefer, self.mid)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id, rows without a loss come last.

        Raises:
            UserError: the scores were made without the prompts' losses.
        """
        _check_losses(scores, self)
        return _sort_down(scores, preference(scores, self.of, self.prefer, self.mid))

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why a row has no loss.

        Raises:
            UserError: the scores were made without the prompts' losses.
        """
        _check_losses(scores, self)
        finite = pl.col(f"{self.of}_loss").is_finite().fill_null(value=False)
        return scores.select(pl.when(~finite).then(pl.lit(NOTHING_READ))).to_series()

    def cost(self, rows: int) -> Workload:
        """Return the pass of the base model."""
        limit = ResponseLimit(self.max_length) if self.of == "response" else None
        return Workload(read_rows=rows, max_length=self.max_length, heads=(self.of,), limit=limit)


@cached(version=VERSION, name="score-perplexity")
def scores(
    kept: Table, measured: Table, blocks: Sequence[Artifact], of: str, prefer: str, mid: str
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason, and mean losses and tokens."""
    losses = read_losses(blocks, measured, kept)
    kinds: list[Literal["response", "all"]] = ["response", "all"] if of == "all" else ["response"]
    frame = kept.read(["row_id"])
    for what in kinds:
        frame = frame.with_columns(
            mean_loss(losses, what).alias(f"{what}_loss"), losses[f"{what}_tokens"]
        )
    value = preference(frame, of, prefer, mid)
    frame = frame.with_columns(
        value.alias("score"),
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=pl.when(value.is_null()).then(pl.lit(NOTHING_READ)),
    )
    return Counted(frame, {"unscored": value.null_count()})


def preference(table: pl.DataFrame, of: str, prefer: str, mid: str) -> pl.Series:
    """Return the preference for each row of the table, higher first; null for a row without a loss.

    For `mid` this is minus the share of the rows that come between it and the middle.
    """
    loss = table[f"{of}_loss"]
    if prefer != "mid":
        return loss if prefer == "high" else -loss
    order = _sort_down(table, loss)
    place = np.empty(len(order), dtype=np.int64)
    place[order] = np.arange(len(order))
    count = len(loss) - loss.null_count()
    if mid == "median":
        away = np.abs(place - (count - 1) / 2)
    else:
        start = int(count * REFERENCE_START)
        away = np.where(place >= start, place - start, count - 1 - place)
    closeness = pl.Series(-away / max(count, 1))
    return table.select(pl.when(loss.is_not_null()).then(closeness)).to_series()


def _sort_down(table: pl.DataFrame, values: pl.Series) -> NDArray[np.int64]:
    """Return row numbers, highest value first and null last; ties go to the smaller row_id."""
    filled = values.fill_null(-math.inf)
    order = table.select(pl.arg_sort_by(filled, "row_id", descending=[True, False]))
    return order.to_series().to_numpy().astype(np.int64)


def _check_losses(scores: pl.DataFrame, params: PerplexitySelector) -> None:
    if f"{params.of}_loss" not in scores.columns:
        raise UserError(
            "the stored losses are those of responses only; run the recipe with --set select.of=all"
        )
