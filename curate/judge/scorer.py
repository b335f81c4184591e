"""Scorer: rows that a sequence-classification checkpoint rates low are dropped.

    - {method: scorer, model: btan2/cappy-large, drop: 0.1}        the worst tenth at most
    - {method: scorer, model: DIR, label: good, threshold: 0.5}
    - {method: scorer, model: btan2/cappy-large, labels: {path: checked.jsonl}, drop: 0.1}
    - {method: scorer, model: btan2/cappy-large, best: 1}          of several responses to a prompt

Cappy (Tan et al. 2023, arXiv:2311.06720; RoBERTa-large, 360M parameters, a regression) or any other
checkpoint that the selector `scorer` takes, read as there (curate.selectors.scorer): the pair of what
stands before the response and the response, within 512 tokens; the start of the former goes first.

The score is the model's own number. Cappy's is meant to lie between 0 and 1 and may leave that range a
little, where clipping it would make ties. No threshold carries over to another pool: take a share, or
look at the histogram in the report first. Cost: one pass of the checkpoint over every row, 40 s for
1,000 rows at 22M parameters on two cores; blocks are shared with the selector where both read the same.

`labels` (the file that `confidence` reads) adapts the checkpoint: a brief tuning of all of its weights
on four fifths of the labelled rows, towards 1 for right and 0 for wrong (curate.models.adapting). The
report has the AUROC on the other fifth before and after, which is what to look at: few labels can make a
scorer worse. The paper adapts Cappy likewise, to labels of a task's own; what it takes for labels there
(1 for the reference, Rouge-L for a model's answers) is left to whoever writes the file. Rows that it was
tuned on are scored by a model that knows their labels.

`best: 1` keeps the best response to each prompt (all turns but the last are the same), as Cappy chooses
among a model's samples: `answer` with `samples: 8` makes them, this stage behind it chooses. A chooser
that errs favours what it likes: eight are enough for most.

Pitfalls: Cappy's labels are Rouge-L on classification-like tasks in English, so it says little of open
conversation, and its scores of one task are not those of another.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from curate.core.calls import Table, cached
from curate.core.cut import RETHRESHOLDABLE, cut_rows
from curate.core.errors import UserError
from curate.core.keyed import ModelSource
from curate.core.methods import method
from curate.core.numerals import counted
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.scored_stage import ScoredStage
from curate.core.section import Inline, Quote, Section
from curate.core.stage import StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.judge.adapted import (
    CHECK,
    AdaptParams,
    adapt_to_labels,
    check_held_out,
    check_sentence,
)
from curate.judge.best import keep_best
from curate.judge.labels import Labels
from curate.models.ratings import RatingParams, rate_rows, read_ratings

VERSION = 1


@method
class ScorerStage(RatingParams, ScoredStage):
    """Drop rows that a classifier or regression model rates low."""

    title: ClassVar[str] = "Scores of a model"
    version: ClassVar[int] = 2
    rates: ClassVar[bool] = True
    rethresholdable: ClassVar[tuple[str, ...]] = (*RETHRESHOLDABLE, "best")
    reason: ClassVar[str] = Reason.LOW_GRADE

    method: Literal["scorer"] = "scorer"
    best: int | None = Field(
        None,
        ge=1,
        description="rows of each prompt that stay, those of the best responses; all if null",
        examples=[1],
    )
    labels: Labels | None = Field(
        None,
        description="checked rows to which the checkpoint is adapted",
        examples=[{"path": "checked.jsonl"}],
    )
    adapt: AdaptParams = AdaptParams()

    @model_validator(mode="after")
    def _check_given(self) -> "ScorerStage":
        if self.threshold is None and self.drop is None and self.best is None:
            raise ValueError(
                "give threshold or drop, or best: the scores of a checkpoint have no common scale"
            )
        if self.labels is None and self.adapt != AdaptParams():
            raise ValueError(
                "adapt says how the checkpoint is tuned on labels: give labels with it"
            )
        return self

    def check(self) -> None:
        """Fail if the file of labels cannot be read.

        Raises:
            UserError: it is not there, or a line is no label.
        """
        if self.labels is not None:
            self.labels.check()

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the scores and, with labels, what adapting to them did."""
        if self.labels is None:
            return super().prepare(run, data)
        path = Path(self.labels.path)
        model, labels = adapt_to_labels(run, data, path, self, self.adapt)
        before = self.score_rows(run, data)
        after = self.score_rows(run, data, model)
        return {after.name: after, CHECK: run(check_held_out, labels, before, after)}

    def score_rows(
        self, run: StepRun, data: StageInputs, model: ModelSource | None = None
    ) -> Table:
        """Rate the rows block by block, then join the blocks."""
        blocks = rate_rows(run, data.rows, data.positions(), self, "scorer", model)
        return run(ratings, data, blocks)

    def decide(self, data: StageData) -> StageResult:
        """Drop rows below the cut, and the worse ones of those with the same prompt."""
        scores = next(table for name, table in data.prepared.items() if name != CHECK)
        verdicts = cut_rows(data, scores.read(), self, self.reason)
        if self.best is not None:
            verdicts = keep_best(data.rows, verdicts, self.best)
        tables = {CHECK: data.prepared[CHECK].read()} if CHECK in data.prepared else {}
        return StageResult(verdicts, tables)

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of scores, and whose they are."""
        lead: list[Inline] = [
            "Each row has the score that ",
            Quote(self.model),
            " gives its prompt and response.",
        ]
        if self.best is not None:
            lead.append(f" At most {counted(self.best, 'row')} of each prompt stayed.")
        if record.has(CHECK):
            lead.append(check_sentence(record.table(CHECK).collect()))
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
