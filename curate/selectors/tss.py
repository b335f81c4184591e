"""TSS: rows whose response fits their own prompt better than the prompts of similar rows.

With l(I) the mean log-probability of a response's tokens behind the prompt I, and K alternatives I_k,

    specificity = l(I) - log(1/K sum_k e^l(I_k))        score = specificity + quality z(l(I))

Task-Specificity Score, 2026, arXiv:2602.03103. Published is the idea: contrast the true instruction with
plausible alternatives for the same input, hard ones in TSS++, which adds a small quality term. Derived,
since no code and no formula could be read: the logarithm of the mean, a soft maximum, so that the best
competitor counts; alternatives without a model, the openings of the K rows with the nearest prompts
(curate.selectors.swapped); z, the mean 0 and deviation 1 over rows; and 0.1 as its weight.

IFD compares with no prompt at all, this with a wrong one: what a response has from the topic or the
format of prompts like its own cancels, and a response that would do behind any of them is near 0.

Cost: a forward pass over every row, which other methods share, and K over the same responses behind
other openings; the prompts' embeddings.

In conversations of several turns the opening alone is swapped, and all responses count. An alternative
that pushes a part of a response behind max_length does not count, so that the means are over the same
tokens.

Pitfalls: a task that many rows have is specific only as far as its inputs are; near-copies of a prompt
are no alternatives (cosine above .95), or common tasks would be penalised. Where the response repeats
its prompt, specificity is large for that alone. Responses of one or two tokens have few values.
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
from curate.models.losses import join_losses, mean_loss, read_losses
from curate.models.passes import pool_pass, response_losses
from curate.selectors.gain import NOTHING_READ
from curate.selectors.similarities import rank_scores
from curate.selectors.swapped import swapped_rows
from curate.selectors.vectors import embed_pool

VERSION = 1
NO_ALTERNATIVE = "no other prompt is a plausible alternative"


@method
class TssSelector(Selector):
    """Rows whose response fits their own prompt better than those of similar rows (TSS)."""

    title: ClassVar[str] = "TSS"
    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "worse than random draws on 5, within their range on 3"
    rank_params: ClassVar[tuple[str, ...]] = ("quality",)

    method: Literal["tss"] = "tss"
    alternatives: int = Field(4, gt=0, description="prompts of similar rows; each costs a pass")
    quality: float = Field(
        0.1, ge=0, description="weight of how likely the response is; 0 compares prompts alone"
    )
    embedder: str | None = Field(
        None, description="of the prompts; models.embedder if not given", examples=["minilm"]
    )
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    def score_rows(self, run: ScoreRun) -> Table:
        """Measure the losses of responses behind their own and other prompts, then store both."""
        own = pool_pass(run, "response", self.max_length)
        embedded = embed_pool(run, "prompt", self.embedder)
        swapped = run(swapped_rows, embedded, run.rows, self.alternatives, run.seed)
        others = response_losses(run, swapped, self.max_length)
        return run(scores, run.kept, own.measured, own.blocks, swapped, others, self.quality)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id."""
        return rank_scores(scores.with_columns(score=_score(self.quality)))

    def cost(self, rows: int) -> Workload:
        """Return the passes over the rows and their alternatives, and the embedding of prompts."""
        return Workload(
            read_rows=(1 + self.alternatives) * rows,
            max_length=self.max_length,
            heads=("response",),
            limit=ResponseLimit(self.max_length),
            embedded_rows=rows,
            compare="prompt",
            embedder=self.embedder,
        )


@cached(version=VERSION, name="score-tss")
def scores(
    kept: Table,
    measured: Table,
    own: Sequence[Artifact],
    swapped: Table,
    others: Sequence[Artifact],
    quality: float,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (the first alternative), reason, specificity, losses, counts."""
    losses = read_losses(own, measured, kept)
    frame = kept.read(["row_id"]).select(
        "row_id",
        loss_given=mean_loss(losses, "response"),
        response_tokens=losses["response_tokens"],
    )
    frame = with_specificity(frame, _losses_behind_others(swapped, others))
    reason = pl.when(pl.col("loss_given").is_null()).then(pl.lit(NOTHING_READ))
    frame = frame.with_columns(
        score=_score(quality),
        reason=reason.when(pl.col("specificity").is_null()).then(pl.lit(NO_ALTERNATIVE)),
    )
    return Counted(frame, {"unscored": frame["score"].null_count()})


def _losses_behind_others(swapped: Table, blocks: Sequence[Artifact]) -> pl.DataFrame:
    """Return row_id, alternative_id, loss and tokens of every swapped row."""
    ids = swapped.read(["row_id", "alternative_id"])
    if not ids.height:
        return ids.with_columns(loss=pl.lit(0.0), tokens=pl.lit(0, dtype=pl.Int64))
    losses = join_losses(blocks)
    return ids.with_columns(loss=mean_loss(losses, "response"), tokens=losses["response_tokens"])


def with_specificity(rows: pl.DataFrame, others: pl.DataFrame) -> pl.DataFrame:
    """Return rows with nearest_id, alternatives (how many), loss_alternatives and specificity.

        losses 2 | 3, 4: 2 is e^-2 likely behind its own prompt, (e^-3 + e^-4) / 2 behind others, so
        loss_alternatives = 3.38, specificity 1.38

    Args:
        rows: row_id, loss_given and response_tokens.
        others: row_id, alternative_id, loss and tokens behind an alternative; one with other tokens than
            the row does not count.
    """
    joined = others.join(rows, on="row_id", how="left", maintain_order="left")
    same = joined.filter(pl.col("tokens") == pl.col("response_tokens"), pl.col("tokens") > 0)
    least = pl.col("loss").min()
    competitors = same.group_by("row_id", maintain_order=True).agg(
        nearest_id=pl.col("alternative_id").first(),
        alternatives=pl.len(),
        loss_alternatives=least - (least - pl.col("loss")).exp().mean().log(),
    )
    frame = rows.join(competitors, on="row_id", how="left", maintain_order="left")
    return frame.with_columns(specificity=pl.col("loss_alternatives") - pl.col("loss_given"))


def _score(quality: float) -> pl.Expr:
    """Return specificity plus the weighted likelihood of the response among the rows that have one."""
    likely = -pl.when(pl.col("specificity").is_not_null()).then(pl.col("loss_given"))
    deviation = likely.std(ddof=0)
    places = pl.when(deviation > 0).then((likely - likely.mean()) / deviation).otherwise(0.0)
    return pl.col("specificity") + quality * places
