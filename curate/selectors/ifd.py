"""IFD: rows whose prompt helps least to predict the response, though it does help.

Instruction-following difficulty, Li et al. 2024. With g the mean loss of a response's tokens given the
conversation before it and a that of the same tokens alone:

    form: loss           g / a          "From Quantity to Quality", arXiv:2308.12032
    form: perplexity     exp(g - a)     "Superfiltering", arXiv:2402.00530

Both are below 1 if the prompt helps at all, but order rows differently: g / a turns large where a is
small. Highest first; from 1 on the prompt does not help, and the papers drop such rows: here they come
last, with a reason. Rows with fewer than `min_tokens` response tokens are too noisy to judge: they have
no score, like rows that the chat template of a `model` of its own refuses. Cost: a forward pass over
every row, and one over every response.

Superfiltering's point is that a small model orders rows much as a large one does: name one as `model`.
The first paper scores with a model tuned briefly on a sample of the pool; the second showed that this
can be left out, and so it is here.

Details that change scores. Alone, a response stands behind the header of the assistant's turn, as in
the first paper's code, so that its first token is predicted in both passes; in Superfiltering's it
is missing from a only, and the two means are over different tokens. The end marker counts as a token
of the response. Responses are found by the chat template, where both codes search for their text.
Several assistant turns count together, each alone without the turns before it.

Ivison et al. 2025, arXiv:2503.01807, find IFD below random on mixed pools: it favours short answers.
And noise ranks high, since a response that has little to do with its prompt comes out near 1: on the
bundled pool, scraping leftovers have a higher IFD than clean rows in 96 of 100 pairs, but only half of
them reach 1, and the others are taken first. Take such rows out before.
"""

import math
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
from curate.core.workload import PassHead, ResponseLimit, Workload
from curate.models.losses import mean_loss, named_model, read_faults, read_losses
from curate.models.passes import alone_pass, pass_of, pool_pass

VERSION = 1
PROMPT_IS_NO_HELP = "the prompt does not help: IFD of 1 or more"
TOO_SHORT = "too few response tokens for a stable IFD"


@method
class IfdSelector(Selector):
    """Rows that are hard to answer from their prompt (instruction-following difficulty)."""

    title: ClassVar[str] = "IFD"
    version: ClassVar[int] = VERSION
    on_targets: ClassVar[str] = "worse than random draws on 4, better on 1, within their range on 3"
    rank_params: ClassVar[tuple[str, ...]] = ("form", "min_tokens")
    scores_alone: ClassVar[bool] = True

    method: Literal["ifd"] = "ifd"
    form: Literal["loss", "perplexity"] = Field(
        "loss", description="ratio of mean losses, or of their exponentials as in Superfiltering"
    )
    model: str | None = Field(
        None, description="another model to score with; the base if none", examples=["smollm2-135m"]
    )
    min_tokens: int = Field(10, gt=0, description="response tokens; rows with fewer are not judged")
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    def score_rows(self, run: ScoreRun) -> Table:
        """Measure the losses of responses with and without their prompts, then store both ratios."""
        model = named_model(run, self.model) if self.model else run.base
        if self.model:
            given = pass_of(run, model, self.max_length)
        else:
            given = pool_pass(run, "response", self.max_length)
        rows = given.measured
        alone = alone_pass(run, model, self.max_length, rows)
        return run(scores, run.kept, rows, given.blocks, alone, self.form, self.min_tokens)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers: the highest IFD below 1 first, then IFD from 1 up, ties by row_id.

        Short rows, which have no score, come last.
        """
        value = pl.col(f"ifd_{self.form}")
        reason = _reason(scores, self.form, self.min_tokens)
        # One number tells the three apart: 1 > IFD >= 0, then -1 >= -IFD.
        sort_key = (
            pl.when(reason.is_null())
            .then(value)
            .when(reason == PROMPT_IS_NO_HELP)
            .then(-value)
            .otherwise(-math.inf)
        )
        order = scores.select(pl.arg_sort_by(sort_key, "row_id", descending=[True, False]))
        return order.to_series().to_numpy().astype(np.int64)

    def unscored(self, scores: pl.DataFrame) -> pl.Series:
        """Return why a row is not judged; one whose prompt is no help is, though it shows no score."""
        reason = _reason(scores, self.form, self.min_tokens)
        return scores.select(pl.when(reason != PROMPT_IS_NO_HELP).then(reason)).to_series()

    def cost(self, rows: int) -> Workload:
        """Return the passes of the model, with prompts and without; it must see some of a response."""
        limit = ResponseLimit(self.max_length, self.min_tokens, self.model)
        heads: tuple[PassHead, ...] = () if self.model else ("response",)
        return Workload(read_rows=2 * rows, max_length=self.max_length, heads=heads, limit=limit)


@cached(version=VERSION, name="score-ifd")
def scores(
    kept: Table,
    measured: Table,
    given: Sequence[Artifact],
    alone: Sequence[Artifact],
    form: str,
    min_tokens: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason, both ratios, losses, tokens."""
    prompted, unprompted = (read_losses(blocks, measured, kept) for blocks in (given, alone))
    if not prompted["response_tokens"].equals(unprompted["alone_tokens"]):
        raise AssertionError("a response has other tokens with its prompt than alone")
    frame = ifd_table(
        kept.read(["row_id"])["row_id"],
        mean_loss(prompted, "response"),
        mean_loss(unprompted, "alone"),
        prompted["response_tokens"],
    )
    unread = read_faults(given, measured, kept)
    if unread.null_count() < len(unread):
        frame = frame.with_columns(unread)
    reason = _reason(frame, form, min_tokens)
    frame = frame.with_columns(
        score=pl.when(reason.is_null()).then(pl.col(f"ifd_{form}")),
        nearest_id=pl.lit(None, dtype=pl.String),
        reason=reason,
    )
    reasons = frame.drop_nulls("reason").group_by("reason").len().sort("reason")
    return Counted(frame, {"ranked_last": dict(reasons.iter_rows())})


def ifd_table(
    row_ids: pl.Series, given: pl.Series, alone: pl.Series, tokens: pl.Series
) -> pl.DataFrame:
    """Return row_id, both forms of IFD, the two mean losses and the number of response tokens."""
    losses = pl.DataFrame({"row_id": row_ids, "loss_given": given, "loss_alone": alone})
    return losses.with_columns(
        ifd_loss=pl.when(pl.col("loss_alone") > 0).then(
            pl.col("loss_given") / pl.col("loss_alone")
        ),
        ifd_perplexity=(pl.col("loss_given") - pl.col("loss_alone")).exp(),
        response_tokens=tokens,
    )


def _reason(scores: pl.DataFrame, form: str, min_tokens: int) -> pl.Expr:
    value = pl.col(f"ifd_{form}")
    short = ~value.is_finite().fill_null(value=False) | (pl.col("response_tokens") < min_tokens)
    reason = (
        pl.when(short)
        .then(pl.lit(TOO_SHORT))
        .when(value >= 1)
        .then(pl.lit(PROMPT_IS_NO_HELP))
        .otherwise(None)
    )
    return pl.coalesce("unread", reason) if "unread" in scores.columns else reason
