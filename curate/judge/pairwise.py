"""Pairwise: does a language model, too, prefer the chosen response of a preference row, in both orders?

    - {method: pairwise, engine: {...}}                       rows whose rejected response is better go
    - {method: pairwise, rubric: rubrics/mine.yaml, threshold: 0.8}

For rows with a rejected response (preference data, and what `reject` leaves of wrong trials): a rubric
as the stage `rubric` has it is what is weighed, and both responses stand in one request.

After FLAMe (Vu et al. 2024, arXiv:2407.10817), whose judge is trained on pairwise and single rubrics in
one text form, and Zheng et al. 2023, arXiv:2306.05685, on judges that favour a place. Ours: the
judgement is that of curate.llm.compare, sampled and reflected upon in both orders, so a judge that
always says A comes out at 0.5. FLAMe's own weights are not public, nor is anything here trained.

Score: the confidence that the chosen response is the better one, from 0 to 1; null for a row without a
rejected response, where either has several turns, or without a usable answer, which stays. Cost: 2
judgements and 4 short calls a preference row (`samples` 1). Pitfalls: judges like long answers; a model
of 135M parameters prefers next to chance.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.preferences import has_single_answers
from curate.core.reasons import Reason
from curate.core.rows import Message, response_text
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import WORST, scored_section
from curate.core.section import PassagePart, Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import Workload
from curate.llm.asking import llm_counts, open_client, question_text
from curate.llm.compare import AnswerPair, compare_pairs, compare_prompts
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.grading import read_rubric
from curate.llm.prompts import PromptFiles
from curate.llm.reflections import REFLECTIONS

VERSION = 2
BATCH_ROWS = 10_000
COLUMNS = ["row_id", "messages", "rejected", "meta"]
SCHEMA = pl.Schema({"row_id": pl.String(), "score": pl.Float64(), "reason": pl.String()})


@method
class PairwiseStage(CutParams, Stage):
    """Drop preference rows whose rejected response a language model prefers."""

    title: ClassVar[str] = "Preferences, compared again"
    reads_rejected: ClassVar[bool] = True
    version: ClassVar[int] = 1
    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE

    method: Literal["pairwise"] = "pairwise"
    engine: EngineParams = TransformersParams()
    rubric: str = Field("response", description="what is weighed: a YAML file, or one of ours")
    samples: int = Field(1, ge=1, description="judgements drawn in each order")
    threshold: float | None = Field(
        0.5,
        description="rows whose chosen response is better with less confidence are dropped",
        examples=[0.8],
    )
    prompts: str | None = Field(
        None, description="folder whose compare/NAME.j2 come before ours", examples=["prompts/"]
    )

    def check(self) -> None:
        """Fail if the rubric cannot be read.

        Raises:
            UserError: it is not there, or is no rubric.
        """
        read_rubric(self.rubric)

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return how sure the engine is of each preference."""
        criteria = read_rubric(self.rubric).criteria
        preferences = run(
            preference_scores,
            data,
            criteria=" ".join(criterion.description for criterion in criteria),
            engine=run.engine(self.engine),
            prompts=compare_prompts(self.prompts).files(),
            samples=self.samples,
            seed=run.seed,
        )
        return {"preferences": preferences}

    def decide(self, data: StageData) -> StageResult:
        """Drop rows whose preference the engine does not share."""
        scores = data.prepared["preferences"].read(["row_id", "score"])
        return StageResult(cut_rows(data, scores, self, Reason.LOW_CONFIDENCE))

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of confidences, and the judge's words on the lowest."""
        lead = (
            "Of each preference row a language model compared the chosen with the rejected response in "
            "both orders; the score is its confidence that the chosen one is better.",
        )
        if not record.has("preferences"):
            return scored_section(record, lead=lead, score="confidence", ends=(0, 1))
        table = record.table("preferences").drop_nulls().sort("score", "row_id").head(WORST)
        passages = {
            row_id: PassagePart("What the judge said", (("", words),))
            for row_id, words in table.select("row_id", "reason").collect().iter_rows()
        }
        return scored_section(record, lead=lead, score="confidence", ends=(0, 1), passages=passages)

    def cost(self, rows: int) -> Workload:
        """Return the calls that it takes if all rows are preference rows."""
        return Workload(calls=rows * 2 * (self.samples + len(REFLECTIONS)))


@cached(version=VERSION, name="preference-scores", title="Compare preferences", wants=engine_wants)
def preference_scores(
    data: StageInputs,
    criteria: str,
    engine: EngineSource,
    prompts: PromptFiles,
    samples: int,
    seed: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, score and the judge's reason, of the rows with a rejected response.

    Raises:
        UserError: the engine no longer answers.
    """
    parts = [SCHEMA.to_frame()]
    with open_client(engine) as client:
        for batch in data.survivor_batches(COLUMNS, BATCH_ROWS):
            rows = batch.filter(has_single_answers())
            pairs = [_pair(*turns) for turns in rows.select("messages", "rejected").iter_rows()]
            preferences = compare_pairs(
                client,
                pairs,
                prompts.open(),
                samples=samples,
                seed=seed,
                criteria=criteria,
                stage="pairwise",
            )
            lines = {
                "row_id": rows["row_id"],
                "score": [preference.confidence for preference in preferences],
                "reason": [preference.reason for preference in preferences],
            }
            parts.append(pl.DataFrame(lines, schema=SCHEMA))
        spent = llm_counts(client)
    table = pl.concat(parts)
    return Counted(table, {"undecided": table["score"].null_count(), "llm": spent})


def _pair(messages: Sequence[Message], rejected: Sequence[Message]) -> AnswerPair:
    return AnswerPair(question_text(messages), response_text(rejected), response_text(messages))
