"""DEITA's scores: how complex each instruction is and how good its response, side by side with others.

    - {method: deita, engine: {...}}                  six turns a request, one answer for all of them
    - {method: deita, expected: true, together: 1}    each alone, by the chances of the digits
    select: {method: deita, score: deita.score}       the best of them, unlike one another

    score = sum over turns of complexity x quality

Published (Liu et al. 2024, "What Makes Good Data for Alignment?", arXiv:2312.15685, section 3, and its
code): ChatGPT ranks and scores an instruction and five evolutions of it in one request, from 1 to 6, so
that small differences show; LLaMA-7B is tuned to say what it said, and a row's score is the mean of the
six digits under that model's chances of the next token (`expected`). Complexity is judged by the
instruction alone, quality by instruction and response; a conversation has the sum over its turns of the
product of both, which favours long ones by construction.

Ours: no scorer is tuned; the engine grades the pool itself. Evolutions that are in the pool (generators
`evolve` and `refine` make them) stand together, and other rows beside them, so that the grades of a row
are comparable with those of the pool. With `votes` each turn is graded again beside others, and the mean
is taken. With `expected` a turn is asked about alone or, beside others, one call for each; a digit that
the engine did not give among its likeliest counts as impossible, where the authors' code takes the
middle score for the whole row in silence, and a turn none of whose digits came has no grade.

Columns: score, complexity and quality (sums over turns), turns. `score: [deita.complexity,
deita.quality]` multiplies the sums, `score: deita.score` is the published form; they are the same for
rows of one turn. A row with a turn that has no grade has no score and stays. Every instruction is what
stands before the turn since the last one; turns that are not trained on are not counted.

Cost: 2 calls for `together` turns and vote, with `expected` 2 for each turn, of one token. Pitfalls:
grades are relative to what stands beside a turn (votes help), and judges like long answers. A small
model may grade places instead of texts (SmolLM2-135M writes 1 to 6 in order): look whether the grades of
complexity and quality differ, and let it grade each turn alone.
"""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field, model_validator

from curate.core.calls import Counted, Table, cached
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.errors import UserError
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.numerals import significant
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.scored_section import WORST, scored_section
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import Workload
from curate.judge.turngrades import METHOD, GradeParams, exchanges_of, grade_exchanges, roots_of
from curate.llm.ask import EngineClient
from curate.llm.asking import llm_counts, open_client
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.prompts import MethodPrompts, PromptFiles

VERSION = 1
# Rows that are in memory at a time, and among which a turn's neighbours are.
BATCH_ROWS = 10_000
GRADES = ("complexity", "quality")


@method
class DeitaStage(CutParams, Stage):
    """Grade complexity and quality of rows beside one another, for the selector `deita`."""

    title: ClassVar[str] = "Complexity and quality"
    version: ClassVar[int] = 1
    rethresholdable: ClassVar[tuple[str, ...]] = RETHRESHOLDABLE
    does: ClassVar[str] = "scores rows"

    method: Literal["deita"] = "deita"
    engine: EngineParams = TransformersParams()
    together: int = Field(6, ge=1, le=12, description="turns that a request shows")
    votes: int = Field(1, ge=1, description="requests for a turn, each beside others")
    expected: bool = Field(
        False,
        description="the mean digit by its log-probabilities, a call for each turn; for engines that "
        "give them",
    )
    prompts: str | None = Field(
        None,
        description="folder whose deita/complexity.j2 and quality.j2 come before ours",
        examples=["prompts/"],
    )

    @model_validator(mode="after")
    def _check_votes(self) -> "DeitaStage":
        if self.votes > 1 and self.together == 1:
            raise ValueError(
                "votes: a turn that stands alone is asked about in the same words each time; give "
                "`together` of 2 or more"
            )
        return self

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the grades of all turns."""
        folder = Path(self.prompts) if self.prompts else None
        grades = run(
            turn_grades,
            data,
            engine=run.engine(self.engine),
            prompts=MethodPrompts(METHOD, folder).files(),
            together=self.together,
            votes=self.votes,
            expected=self.expected,
            seed=run.seed,
        )
        return {"grades": grades}

    def decide(self, data: StageData) -> StageResult:
        """Return the sums over turns; rows below the cut go, if there is one."""
        scores = sum_turns(data.prepared["grades"].read())
        verdicts = cut_rows(data, scores, self, Reason.LOW_GRADE)
        sums = scores.drop("score")
        return StageResult(verdicts.join(sums, on="row_id", how="left", maintain_order="left"))

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of scores, and what they are made of for the lowest."""
        worst = record.evidence().drop_nulls("score").sort("score", "row_id").head(WORST).collect()
        beside = "each alone" if self.together == 1 else f"up to {self.together} side by side"
        lead = (
            "A language model graded how complex each instruction and how good its response is, from 1 "
            f"to 6, {beside}; a score is the product, summed over turns.",
        )
        facts = {
            row["row_id"]: [f"{name} {significant(row[name])}" for name in GRADES]
            for row in worst.iter_rows(named=True)
        }
        return scored_section(record, lead=lead, facts=facts)

    def cost(self, rows: int) -> Workload:
        """Return the calls that it takes for rows of one turn."""
        asks = rows if self.expected else ceil(rows / self.together)
        return Workload(calls=len(GRADES) * self.votes * asks)


@cached(version=VERSION, name="deita-grades", title="Ask for grades of turns", wants=engine_wants)
def turn_grades(
    data: StageInputs,
    engine: EngineSource,
    prompts: PromptFiles,
    together: int,
    votes: int,
    expected: bool,
    seed: int,
) -> Counted[pl.DataFrame]:
    """Return row_id, turn, complexity, quality; null where no answer was of use.

    Raises:
        UserError: the engine no longer answers, or gives no log-probabilities that `expected` needs.
    """
    params = GradeParams(together, votes, expected, seed)
    roots = roots_of(data.rows.scan())
    with open_client(engine) as client:
        parts = [
            _grade_batch(client, batch, roots, prompts.open(), params)
            for batch in data.survivor_batches(["row_id", "messages"], BATCH_ROWS)
        ]
        spent = llm_counts(client)
    grades = pl.concat(parts) if parts else _frame([], [], {name: [] for name in GRADES})
    lacking = grades.select(pl.any_horizontal(pl.col(GRADES).is_null())).to_series()
    if expected and grades.height and lacking.all():
        raise UserError(
            "deita: no answer came with log-probabilities of the digits, which `expected` needs; "
            "leave it out, or use an engine that gives them"
        )
    return Counted(grades, {"ungraded": int(lacking.sum()), "llm": spent})


def _grade_batch(
    client: EngineClient,
    batch: pl.DataFrame,
    roots: Mapping[str, str],
    prompts: MethodPrompts,
    params: GradeParams,
) -> pl.DataFrame:
    exchanges = [
        exchange
        for row_id, messages in batch.select("row_id", "messages").iter_rows()
        for exchange in exchanges_of(row_id, messages, roots.get(row_id, row_id))
    ]
    grades = {name: grade_exchanges(client, exchanges, prompts, name, params) for name in GRADES}
    return _frame([e.row_id for e in exchanges], [e.turn for e in exchanges], grades)


def _frame(ids: list[str], turns: list[int], grades: Mapping[str, object]) -> pl.DataFrame:
    schema = {"row_id": pl.String, "turn": pl.Int64, **dict.fromkeys(GRADES, pl.Float64)}
    return pl.DataFrame({"row_id": ids, "turn": turns, **grades}, schema=schema).fill_nan(None)


def sum_turns(grades: pl.DataFrame) -> pl.DataFrame:
    """Return row_id, score, complexity, quality and turns of rows; null where a turn has no grade."""
    product = pl.col("complexity") * pl.col("quality")

    def total(values: pl.Expr) -> pl.Expr:
        return pl.when(values.is_not_null().all()).then(values.sum())

    return grades.group_by("row_id", maintain_order=True).agg(
        score=total(product),
        **{name: total(pl.col(name)) for name in GRADES},
        turns=pl.len().cast(pl.Int64),
    )
