"""A stage that scores rows, and drops those below a threshold or the worst share of them.

    class ShortStage(ScoredStage):
        method: Literal["short"] = "short"
        reason: ClassVar[str] = "says_too_little"

        def score_rows(self, run: StepRun, data: StageInputs) -> Table: ...

In a recipe: {method: short, drop: 0.1}
"""

from collections.abc import Mapping
from typing import ClassVar

from curate.core.calls import Table
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.run import StepRun
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs


class ScoredStage(CutParams, Stage):
    """Base of a stage whose verdicts follow from one score of each row.

    A recipe gives `threshold` or `drop`; with neither, rows are scored and all stay. `reason` is that of
    the drops.
    """

    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE
    reason: ClassVar[str]

    def score_rows(self, run: StepRun, data: StageInputs) -> Table:
        """Return row_id and score of the rows; higher is better, and null stays."""
        raise NotImplementedError

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the scores, by the name of their table."""
        scores = self.score_rows(run, data)
        return {scores.name: scores}

    def decide(self, data: StageData) -> StageResult:
        """Drop the rows whose score is below the cut."""
        (scores,) = data.prepared.values()
        return StageResult(cut_rows(data, scores.read(), self, self.reason))
