"""Scorer: rows that a sequence-classification checkpoint rates low are dropped.

    - {method: scorer, model: btan2/cappy-large, drop: 0.1}        the worst tenth at most
    - {method: scorer, model: DIR, label: good, threshold: 0.5}

Cappy (Tan et al. 2023, arXiv:2311.06720; RoBERTa-large, 360M parameters, a regression) or any other
checkpoint that the selector `scorer` takes, read as there (curate.selectors.scorer): the pair of what
stands before the response and the response, within 512 tokens; the start of the former goes first.

The score is the model's own number. Cappy's is meant to lie between 0 and 1 and may leave that range a
little, where clipping it would make ties. No threshold carries over to another pool: take a share, or
look at the histogram in the report first. Cost: one pass of the checkpoint over every row, 40 s for
1,000 rows at 22M parameters on two cores; blocks are shared with the selector where both read the same.

Pitfalls: Cappy's labels are Rouge-L on classification-like tasks in English, so it says little of open
conversation, and its scores of one task are not those of another.
"""

from collections.abc import Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import model_validator

from curate.core.calls import Table, cached
from curate.core.errors import UserError
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.scored_stage import ScoredStage
from curate.core.section import Quote, Section
from curate.core.stageinputs import StageInputs
from curate.models.ratings import RatingParams, rate_rows, read_ratings

VERSION = 1


@method
class ScorerStage(RatingParams, ScoredStage):
    """Drop rows that a classifier or regression model rates low."""

    title: ClassVar[str] = "Scores of a model"
    version: ClassVar[int] = 2
    rates: ClassVar[bool] = True
    reason: ClassVar[str] = Reason.LOW_GRADE

    method: Literal["scorer"] = "scorer"

    @model_validator(mode="after")
    def _check_given(self) -> "ScorerStage":
        if self.threshold is None and self.drop is None:
            raise ValueError(
                "give threshold or drop: the scores of a checkpoint have no common scale"
            )
        return self

    def score_rows(self, run: StepRun, data: StageInputs) -> Table:
        """Rate the rows block by block, then join the blocks."""
        return run(ratings, data, rate_rows(run, data.rows, data.positions(), self, "scorer"))

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of scores, and whose they are."""
        lead = (
            "Each row has the score that ",
            Quote(self.model),
            " gives its prompt and response.",
        )
        return scored_section(record, lead=lead)


@cached(version=VERSION, name="scorer-ratings", title="Join the scoring model's ratings")
def ratings(data: StageInputs, blocks: Sequence[Table]) -> pl.DataFrame:
    """Return row_id and score.

    Raises:
        UserError: a score is no finite number.
    """
    scores = read_ratings(blocks)
    if not np.isfinite(scores).all():
        raise UserError(
            "the scorer's checkpoint rates some rows with no finite number; use another"
        )
    return data.survivor_ids().with_columns(score=pl.Series(scores))
