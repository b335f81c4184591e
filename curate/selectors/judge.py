"""A language model as judge: rows by the score that it gives them under a rubric.

Chen et al. 2023, "AlpaGasus", arXiv:2307.08701: a model grades each pair of prompt and response, and
the best graded are trained on. The score is the mean of `votes` answers, each a JSON object whose
reason comes before its number. A row whose answers are all useless has no score and says why.

Cost: a call of the engine for each row and vote; answers are kept, so another budget or a rerun costs
none. Pitfalls: grades of one model crowd on one or two values, where ties decide (votes spread them);
judges like long answers; a model of 135M parameters grades next to chance.
"""

from typing import ClassVar, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.workload import Workload
from curate.llm.asking import llm_counts, open_client
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.grading import BATCH_ROWS, Criterion, Rubric, grade_rows, grading_prompts
from curate.llm.prompts import PromptFiles
from curate.selectors.similarities import rank_scores

VERSION = 1
RUBRIC = "Judge whether the response is correct, complete and helpful, and the prompt clear."


@method
class JudgeSelector(Selector):
    """Best rows by the grades of a language model."""

    title: ClassVar[str] = "a language model as judge"
    version: ClassVar[int] = VERSION
    scores_alone: ClassVar[bool] = True

    method: Literal["judge"] = "judge"
    engine: EngineParams = TransformersParams()
    rubric: str = Field(RUBRIC, min_length=1, description="what is judged, in a sentence or more")
    low: int = Field(1, ge=0, description="the lowest grade")
    high: int = Field(5, ge=1, description="the highest grade")
    votes: int = Field(1, ge=1, description="answers whose mean is a row's score")
    prompts: str | None = Field(
        None, description="folder whose judge/rate.j2 comes before ours", examples=["prompts/"]
    )

    @model_validator(mode="after")
    def _check_scale(self) -> "JudgeSelector":
        if self.high <= self.low:
            raise ValueError(f"high {self.high} is not above low {self.low}")
        return self

    def score_rows(self, run: ScoreRun) -> Table:
        """Ask for the grades of all kept rows."""
        return run(
            scores,
            rows=run.rows,
            kept=run.kept,
            engine=run.engine(self.engine),
            prompts=grading_prompts(self.prompts).files(),
            seed=run.seed,
            **self.model_dump(include={"rubric", "low", "high", "votes"}),
        )

    def cost(self, rows: int) -> Workload:
        """Return the calls that it takes at most."""
        return Workload(calls=rows * self.votes)

    def rank(self, scores: pl.DataFrame, seed: int) -> NDArray[np.int64]:
        """Return row numbers, best first; ties go to the smaller row_id, rows without a score last."""
        return rank_scores(scores)


@cached(version=VERSION, name="score-judge", wants=engine_wants)
def scores(
    rows: Table,
    kept: Table,
    engine: EngineSource,
    prompts: PromptFiles,
    seed: int,
    rubric: str,
    low: int,
    high: int,
    votes: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, score, nearest_id (null), reason (of a row without a score), told.

    `told` is the first vote's reason.
    """
    kept_rows = (
        rows.scan()
        .select("row_id", "messages")
        .join(kept.scan().select("row_id"), on="row_id", how="semi", maintain_order="left")
        .collect()
    )
    criteria = Rubric(criteria=[Criterion(name="score", description=rubric)], low=low, high=high)
    with open_client(engine) as client:
        grades = grade_rows(
            client,
            kept_rows.iter_slices(BATCH_ROWS),
            criteria,
            votes=votes,
            seed=seed,
            prompts=prompts.open(),
        )
        spent = llm_counts(client)
    first_reason = pl.col("criteria").list.first().struct.field("reason")
    frame = grades.select(
        "row_id",
        score="grade",
        nearest_id=pl.lit(None, dtype=pl.String),
        reason="why",
        told=first_reason,
    )
    return Counted(frame, {"unscored": frame["score"].null_count(), "llm": spent})
