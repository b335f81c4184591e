"""Context: how much the base model looks at the prompt while it reads a response.

    - {method: context}
    select: {..., filter: "context.score > 0.6"}
    select: {..., shares: [{by: context.level, least: {high: 0.2}}]}
    - {method: tag, when: "context.level = 'high'", append: " [IND]"}

Published (Wang et al. 2024, "On the Loss of Context-awareness in General Instruction Fine-tuning",
arXiv:2411.02688, and its code, analyse_dataset/utils.py): in one middle layer, for each token of the
response, the largest share over heads of the attention that goes to the user's tokens; a row is
context-dependent if the mean over its response is above 0.6. Tuning on rows that need no context teaches
a model to look away from it; rows with a marker at the end of the user's turn where the context counts
give that back at use.

Ours: the middle layer is half of all (curate.models.contextmass), whatever the model; every user turn
counts in a conversation, and every response that is trained on. Without threshold or drop no row goes.
Columns: score, and level, `high` above `high` and `low` else. A row without a score has neither, and
stays.

Cost: half a pass of the base model over every row. Pitfalls: the score falls with the length of the
response, since it is attended to as well, and rises with that of the prompt; options that a prompt
lists count as context. Look at what the prompt gains (`confidence`) besides.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field

from curate.core.calls import Table, cached
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.methods import method
from curate.core.numerals import percent
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import ResponseLimit, Workload
from curate.models.blocks import row_blocks
from curate.models.contextmass import context_mass

VERSION = 1


@method
class ContextStage(CutParams, Stage):
    """Measure how much the base model looks at the prompt while it reads the response."""

    title: ClassVar[str] = "Attention to the prompt"
    version: ClassVar[int] = 1
    rethresholdable: ClassVar[tuple[str, ...]] = (*RETHRESHOLDABLE, "high")
    does: ClassVar[str] = "scores rows"

    method: Literal["context"] = "context"
    high: float = Field(0.6, ge=0, le=1, description="score above which the level is high")
    max_length: int = Field(1024, gt=0, description="tokens; longer rows are cut at the end")

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the scores of all rows."""
        blocks = row_blocks(run, data.rows, data.positions())
        masses = run.map(context_mass, blocks, run.base, self.max_length)
        return {"scores": run(scores, data, masses)}

    def decide(self, data: StageData) -> StageResult:
        """Return the level of each row; rows below the cut go, if there is one."""
        verdicts = cut_rows(data, data.prepared["scores"].read(), self, Reason.LOW_GRADE)
        high = pl.col("score") > self.high
        level = pl.when(high).then(pl.lit("high")).when(~high).then(pl.lit("low"))
        return StageResult(verdicts.with_columns(level=level))

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of scores, and how many rows are of the high level."""
        levels = record.evidence().select("level").drop_nulls().collect()["level"]
        share = percent(int((levels == "high").sum()) / max(len(levels), 1))
        lead = (
            "While it reads a response, the base model gives the user's words this share of its "
            "attention (in the middle layer, by the head that does so most). "
            f"{share} of the rows are above {self.high:g}.",
        )
        return scored_section(record, lead=lead, ends=(0, 1))

    def cost(self, rows: int) -> Workload:
        """Return a pass of the base model, of which it takes half."""
        limit = ResponseLimit(self.max_length)
        return Workload(read_rows=rows, max_length=self.max_length, limit=limit)


@cached(version=VERSION, name="context-scores")
def scores(data: StageInputs, blocks: Sequence[Table]) -> pl.DataFrame:
    """Return row_id and score; null of a row without a user's or a response's token."""
    masses: NDArray[np.float32] = np.concatenate(
        [np.empty(0, dtype=np.float32), *(block.array() for block in blocks)]
    )
    score = pl.Series("score", masses.astype(np.float64).round(6)).fill_nan(None)
    return data.survivor_ids().with_columns(score)
