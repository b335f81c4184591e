"""Rubric: a language model grades every row by criteria, with reasons; rows graded low are dropped.

    - {method: rubric, engine: {kind: openai, ...}, votes: 3}        our rubric, threshold 3 of 1 to 5
    - {method: rubric, rubric: rubrics/mine.yaml, drop: 0.1}         yours, the worst tenth at most

A rubric is a YAML file of criteria with descriptions and weights on one scale (see
curate/llm/rubrics/response.yaml); how a grade is made of the votes stands in curate.llm.grading.

After Chen et al. 2023, "AlpaGasus", arXiv:2307.08701, which keeps what ChatGPT grades 4.5 or higher of
5 under one criterion, and Zheng et al. 2023, arXiv:2306.05685, on judges. Score: the weighted mean
grade, on the rubric's scale. Rows whose answers are all of no use stay, without a score, and the table
of grades says why.

Cost: a call of the engine for each row and vote; answers are kept, so another cut, weight or vote costs
only what is new. Pitfalls: grades crowd on one or two values (votes and criteria spread them); judges
like long answers and their own; a text can flatter its judge; a model of 135M parameters grades next to
chance, so look at the worst rows in the report before you drop by it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.core.calls import Table, cached_files
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.jsontypes import JSON
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.workload import Workload
from curate.judge.rubric_section import rubric_section
from curate.llm.asking import llm_counts, open_client
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.grading import (
    BATCH_ROWS,
    Rubric,
    grade_rows,
    grading_prompts,
    read_rubric,
)
from curate.llm.prompts import PromptFiles

VERSION = 1


@method
class RubricStage(CutParams, Stage):
    """Drop rows that a language model grades low under a rubric."""

    title: ClassVar[str] = "Grades under a rubric"
    version: ClassVar[int] = 2
    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE

    method: Literal["rubric"] = "rubric"
    rubric: str = Field("response", description="a YAML file, or one of ours by its name")
    engine: EngineParams = TransformersParams()
    votes: int = Field(3, ge=1, description="answers whose mean is a row's grade")
    threshold: float | None = Field(
        None,
        description="rows with a lower grade are dropped; the rubric's own if null",
        examples=[3.5],
    )
    prompts: str | None = Field(
        None, description="folder whose judge/rate_each.j2 comes before ours", examples=["prompts/"]
    )

    def check(self) -> None:
        """Fail if the rubric cannot be read.

        Raises:
            UserError: it is not there, or is no rubric.
        """
        read_rubric(self.rubric)

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the grades of all rows, and the rubric as it was read."""
        stored = run(
            write_grades,
            data,
            rubric=read_rubric(self.rubric).model_dump(),
            engine=run.engine(self.engine),
            prompts=grading_prompts(self.prompts).files(),
            votes=self.votes,
            seed=run.seed,
        )
        return {name: Table(stored, name) for name in ("grades", "criteria")}

    def decide(self, data: StageData) -> StageResult:
        """Drop rows with a grade below the cut; score is the grade, null where there is none."""
        grades = data.prepared["grades"].read(["row_id", "grade"])
        own = data.prepared["criteria"].read()["threshold"][0]
        cut: CutParams = self
        if self.threshold is None and self.drop is None:
            cut = CutParams(threshold=own)
        scores = grades.rename({"grade": "score"})
        return StageResult(cut_rows(data, scores, cut, Reason.LOW_GRADE))

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of grades, the mean by criterion, and the judge's words."""
        return rubric_section(record, self.votes)

    def cost(self, rows: int) -> Workload:
        """Return the calls that it takes at most."""
        return Workload(calls=rows * self.votes)


@cached_files(
    version=VERSION,
    name="rubric-grades",
    title="Ask for grades under the rubric",
    wants=engine_wants,
)
def write_grades(
    out: Path,
    data: StageInputs,
    rubric: Mapping[str, JSON],
    engine: EngineSource,
    prompts: PromptFiles,
    votes: int,
    seed: int,
) -> Counts:
    """Write grades.parquet (curate.llm.grading) and criteria.parquet, the rubric."""
    judged = Rubric.model_validate(rubric)
    batches = data.survivor_batches(["row_id", "messages"], BATCH_ROWS)
    with open_client(engine) as client:
        grades = grade_rows(client, batches, judged, votes=votes, seed=seed, prompts=prompts.open())
        spent = llm_counts(client)
    grades.write_parquet(out / "grades.parquet")
    scale = [pl.lit(getattr(judged, n)).alias(n) for n in ("low", "high")]
    pl.DataFrame([criterion.model_dump() for criterion in judged.criteria]).with_columns(
        *scale, threshold=pl.lit(judged.threshold, dtype=pl.Float64)
    ).write_parquet(out / "criteria.parquet")
    return {
        "rows_in": grades.height,
        "rows_out": grades.height,
        "ungraded": grades["grade"].null_count(),
        "llm": spent,
    }
