"""Delta loss: rows that a brief tuning on a random share of the pool makes likelier, the learnable ones.

    gain = (loss under the base - loss under the tuned model) per token of the response

Published: the online schedule of DataFlex (OpenDCAI, 2026), which sorts rows by initial minus current
loss while the model trains and lets a window of 20 % slide over the order. Derived from it: one order,
the largest gain first, after the warm-up of LESS, whose last checkpoint is the tuned model; a recipe
with both tunes once. What the model knows already gains nothing, and neither does what it cannot learn
from a few hundred rows, such as noise. Unlike `perplexity_ratio`, no target has a say.

Cost: the warm-up, and two forward passes over every row, of which other methods share the first.

Ours: rows of the warm-up have been learned by heart, and would come first for that alone. They are a
random draw, so what they would have gained unread is spread like the gains of the others: each gets the
gain that stands among the others where its own stands among the drawn. And short responses are averaged
with `prior_tokens` tokens of no gain, see curate.selectors.gain.

Pitfalls: what most of the pool does, its formats and its manners, is learned first, so the order favours
the pool's majority. The gains of a few steps are small; a longer or faster warm-up makes them clearer.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.store import Artifact
from curate.core.workload import ResponseLimit, Workload
from curate.models.passes import pass_of, pool_pass
from curate.models.warmup import draw_rows, warm_up
from curate.models.warmup_adapter import write_last_adapter
from curate.selectors.gain import PRIOR_TOKENS, loss_table, shrunk_gain, with_score
from curate.selectors.less import Warmup
from curate.selectors.similarities import rank_scores

VERSION = 1


@method
class DeltaLossSelector(Selector):
    """Rows that a brief tuning on a random share of the pool makes likelier."""

    title: ClassVar[str] = "delta loss"
    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "worse than random draws on 3, within their range on 5"
    rank_params: ClassVar[tuple[str, ...]] = ("prior_tokens",)

    method: Literal["delta_loss"] = "delta_loss"
    prior_tokens: int = Field(10, ge=0, description=PRIOR_TOKENS)
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")
    warmup: Warmup = Warmup()

    def score_rows(self, run: ScoreRun) -> Table:
        """Tune on a share of the rows, measure responses before and after, then store the gains."""
        warmup = warm_up(run, self.warmup.model_dump(mode="json"), self.max_length)
        adapter = run(write_last_adapter, warmup)
        base = pool_pass(run, "response", self.max_length)
        tuned = pass_of(run, run.base, self.max_length, adapter)
        return run(
            scores, run.kept, base.measured, base.blocks, tuned.measured, tuned.blocks,
            self.warmup.fraction, run.seed, self.prior_tokens,
        )  # fmt: skip

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        return rank_scores(scores.with_columns(score=expected_gains(scores, self.prior_tokens)))

    def cost(self, rows: int) -> Workload:
        """Return the passes of the base model, which must see some of a response."""
        limit = ResponseLimit(self.max_length)
        return Workload(
            read_rows=2 * rows + self.warmup.cost(rows),
            max_length=self.max_length,
            heads=("response",),
            limit=limit,
        )


@cached(version=VERSION, name="score-delta_loss")
def scores(
    kept: Table,
    measured: Table,
    base: Sequence[Artifact],
    measured_tuned: Table,
    tuned: Sequence[Artifact],
    fraction: float,
    seed: int,
    prior_tokens: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason, both losses, tokens, and which rows were drawn.

    `fraction` and `seed` are those of the warm-up's draw.
    """
    frame = loss_table(kept, measured, base, measured_tuned, tuned)
    drawn = draw_rows(frame["row_id"], fraction, seed)
    frame = frame.with_columns(drawn=pl.col("row_id").is_in(drawn))
    frame = with_score(frame, expected_gains(frame, prior_tokens))
    return Counted(frame, {"unscored": frame["score"].null_count(), "drawn": len(drawn)})


def expected_gains(losses: pl.DataFrame, prior_tokens: int) -> pl.Series:
    """Return the gain of each row, for a drawn one the gain at its place among the others.

        drawn 5, 9; others 1, 2, 3: 5 is in the middle of the lower half, and becomes 1.5; 9 becomes 2.5

    Where all rows were drawn, their own gains stand.
    """
    gains = losses.select(gain=shrunk_gain(prior_tokens))["gain"]
    values, drawn = gains.fill_null(np.nan).to_numpy(), losses["drawn"].to_numpy()
    scored = np.isfinite(values)
    own, others = np.flatnonzero(scored & drawn), values[scored & ~drawn]
    if not len(own) or not len(others):
        return gains
    places = (pl.Series(values[own]).rank("average").to_numpy() - 0.5) / len(own)
    values = values.copy()
    values[own] = np.quantile(others, places)
    return pl.Series("gain", values).fill_nan(None)
