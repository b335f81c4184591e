"""CLEAR's second half: rows that an earlier stage has little confidence in get a better response, or go.

stages:
  - {method: clear, action: score}
  - {method: correct, by: clear}

Chen and Mueller 2024, "Automated Data Curation for Robust Language Model Fine-Tuning",
arXiv:2403.12776: the base model, fine-tuned on the rows above the threshold, answers the prompts of the
others at temperature 0. Where a model, shown both responses, prefers the new one with a confidence above
0.8 (curate.llm.compare: in both orders, with its self-reflection), the row is replaced. Otherwise it
is dropped, also where the new response says the same: in its words, or, for short answers and whatever a
`checker` is named for, by its value. Rows above the threshold, and those without a
score, stay as they are.

A correction is a new row with the old one as its parent, which is dropped for it; the old response rides
with it as its `rejected`, a preference pair whose margin is that of the comparison (ours). The table
`corrections` has old and new response, the confidence in the old one, that of the comparison, and the
decision.

Cost: a LoRA fine-tune on the good rows; for each of the others a generation of up to max_tokens, and 14
short calls. Pitfalls: a fine-tune of few rows answers like these, whatever is asked; the judge is the
model that doubted the row, so a weak one replaces right answers by fluent ones: look at the table first.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import orjson
import polars as pl
from pydantic import Field

from curate.answers.values import CHECKED_HOW, Check, same_answer, warn_not_comparable
from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.derived_rows import derive_rows, derived_id
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import EngineSource
from curate.core.ledger import evidence_of
from curate.core.methods import method
from curate.core.preferences import PAIR, pair_note
from curate.core.reasons import Reason
from curate.core.rows import response_text
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.workload import Workload
from curate.judge.correct_section import correct_section
from curate.judge.threshold import median_or
from curate.judge.tune import TuneParams, tune
from curate.llm.asking import ask_all, llm_counts, open_client, question_text
from curate.llm.compare import (
    CRITERIA,
    PROMPTS,
    AnswerPair,
    PreferenceScore,
    compare_pairs,
    compare_prompts,
)
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.prompts import PromptFiles
from curate.llm.reasoning import holds_marks
from curate.llm.reflections import REFLECTIONS
from curate.llm.requests import Sampling, chat
from curate.models.finetune import ADAPTER

VERSION = 2
ROWS_VERSION = 4
REPLACED, SAME, NOT_BETTER = "replaced", "the same answer", "not better"
NO_ANSWER, NO_JUDGEMENT = "no usable answer", "no usable judgement"
# The confidence of a comparison that is for neither.
EVEN = 0.5


@method
class CorrectStage(Stage):
    """Replace responses of low confidence where a model's answer is better; drop the other ones."""

    title: ClassVar[str] = "Corrections"
    version: ClassVar[int] = 3

    method: Literal["correct"] = "correct"
    by: str = Field("clear", description="earlier stage whose scores say which rows are doubted")
    threshold: Literal["median"] | float | None = Field(
        None, description="rows at or below it are doubted; that of the earlier stage if not given"
    )
    model: Literal["tuned", "base", "engine"] = Field(
        "tuned", description="who answers; tuned: the base model after a fine-tune on the good rows"
    )
    tune: TuneParams = TuneParams()
    max_tokens: int = Field(512, ge=1, description="of a new response; one that is cut is lost")
    engine: EngineParams = Field(TransformersParams(), description="who compares")
    samples: int = Field(5, ge=1, description="judgements drawn in each order of a comparison")
    confidence: Annotated[float, Field(ge=0, le=1)] = Field(
        0.8, description="a new response is taken if it is better with more confidence than this"
    )
    checker: Check = Field("auto", description=CHECKED_HOW)
    otherwise: Literal["drop", "keep"] = Field(
        "drop", description="doubted rows without a better one"
    )
    prompts: str | None = Field(
        None, description="folder whose compare/NAME.j2 come before ours", examples=["prompts/"]
    )

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Tune, answer, compare, and make the new rows."""
        scores = _scores(data, self)
        limit = _limit(evidence_of(scores).read(), self)
        answerer = _answerer(run, data, scores, self, limit)
        compared = run(
            comparisons,
            rows=data.rows,
            answers=run(answers, data, scores, answerer, limit, self.max_tokens),
            engine=run.engine(self.engine),
            samples=self.samples,
            seed=run.seed,
            checker=self.checker,
            prompts=compare_prompts(self.prompts).files(*PROMPTS),
            criteria=CRITERIA,
        )
        corrections = run(write_corrections, data.rows, compared, self.confidence)
        return {name: Table(corrections, name) for name in ("corrections", APPENDED)}

    def decide(self, data: StageData) -> StageResult:
        """Drop replaced rows for their corrections, and, if so wanted, the other doubted ones.

        Score and threshold are those of the earlier stage; `confidence` is that of the comparison.
        """
        earlier_evidence = data.evidence[self.by]
        limit = _limit(earlier_evidence.collect(), self)
        decided = data.prepared["corrections"].scan()
        evidence = (
            data.rows.select("row_id")
            .join(
                earlier_evidence.select("row_id", "score"),
                on="row_id", how="left", maintain_order="left",
            )
            .join(
                decided.select("row_id", "decision", "confidence", duplicate_of="made_id"),
                on="row_id", how="left", maintain_order="left",
            )
            .with_columns(threshold=pl.lit(limit), reason=_reason(self))
            .with_columns(keep=pl.col("reason").is_null())
            .collect()
        )  # fmt: skip
        return StageResult(evidence)

    def section(self, record: StageRecord) -> Section | None:
        """Return the decisions on doubted rows, and old and new responses side by side."""
        return correct_section(record, self.confidence, self.otherwise)

    def cost(self, rows: int) -> Workload:
        """Return the calls that doubting every row takes: an answer, a comparison in both orders."""
        return Workload(calls=rows * (1 + 2 * (self.samples + len(REFLECTIONS))))

    @property
    def reads_base(self) -> bool:
        """Return whether it is tuned on rows that are trusted."""
        return self.model == "tuned"


def _scores(data: StageInputs, params: CorrectStage) -> Artifact:
    """Return the earlier stage that says which rows are doubted."""
    stages = [verdicts.artifact for verdicts in data.evidence]
    scores = next((stage for stage in stages if stage.name == params.by), None)
    if scores is None:
        raise UserError(f"correct.by: no earlier stage is named {params.by!r}")
    return scores


def _limit(evidence: pl.DataFrame, params: CorrectStage) -> float:
    """Return the threshold at or below which rows are doubted.

    Raises:
        UserError: the earlier stage has no scores, or no threshold of its own.
    """
    if evidence["score"].null_count() == evidence.height:
        raise UserError(
            f"correct.by: the stage {params.by!r} gave none of its {evidence.height} rows a score, so "
            "none can be doubted; name another stage, or let more rows reach it"
        )
    if params.threshold is not None:
        return median_or(params.threshold, evidence["score"])
    own = evidence["threshold"].drop_nulls().unique()
    if len(own) != 1:
        raise UserError(
            f"correct.threshold: the stage {params.by!r} has not one threshold; give one, or median"
        )
    return float(own[0])


def _doubted(
    data: StageInputs, scores: Artifact, limit: float
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows that are still in: those at or below the limit, and those above it."""
    score = evidence_of(scores).scan().select("row_id", "score")
    rows = data.survivors().select("row_id", "messages")
    scored = rows.join(score, on="row_id", how="left", maintain_order="left").collect()
    return scored.filter(pl.col("score") <= limit), scored.filter(pl.col("score") > limit)


def _check_there(
    scores: Artifact, doubted: pl.DataFrame, params: CorrectStage, limit: float
) -> None:
    """Fail where the earlier stage has itself dropped all the rows that it doubts."""
    evidence = evidence_of(scores).read()
    dropped = evidence.filter(~pl.col("keep"), pl.col("score") <= limit).height
    if dropped and not doubted.height:
        raise UserError(
            f"correct.by: the stage {params.by!r} has dropped the {dropped:,} rows that it doubts, so "
            "none is left to correct; let it only score (clear: set `action: score`)"
        )


def _answerer(
    run: StepRun, data: StageInputs, scores: Artifact, params: CorrectStage, limit: float
) -> EngineSource:
    """Return the engine that answers; it is tuned here where that is wanted.

    Raises:
        UserError: no row is good enough to tune on.
    """
    doubted, good = _doubted(data, scores, limit)
    _check_there(scores, doubted, params, limit)
    if params.model == "engine":
        return run.engine(params.engine)
    if params.model == "base" or not doubted.height:
        return run.engine(TransformersParams())
    if not good.height:
        raise UserError(
            f"correct: no row has a score above {limit:.4g}, so there is nothing to tune on; lower "
            "correct.threshold, or set correct.model to base"
        )
    ids = good["row_id"].to_list()
    tuned = tune(run, data.rows, ids, params.tune)
    return run.engine(TransformersParams(adapter=str(tuned.file(ADAPTER))))


@cached(
    version=VERSION,
    name="correct-answers",
    title="Answer the prompts of doubted rows",
    wants=engine_wants,
)
def answers(
    data: StageInputs, scores: Artifact, engine: EngineSource, limit: float, max_tokens: int
) -> Counted[pl.DataFrame]:
    """Return row_id, old, new (null without a usable one), reasoning, confidence_old."""
    rows, _ = _doubted(data, scores, limit)
    messages = rows["messages"].to_list()
    answerable = [i for i, m in enumerate(messages) if len(m) > 1 and m[-2]["role"] != "assistant"]
    sampling = Sampling(temperature=0, max_tokens=max_tokens)
    requests = [chat(messages[i][:-1], sampling=sampling) for i in answerable]
    new: list[str | None] = [None] * len(messages)
    reasonings: list[str | None] = [None] * len(messages)
    counts: dict[str, Any] = {}
    if requests:
        with open_client(engine) as client:
            replies = ask_all(client, requests, "correct.answers")
            counts = {"llm": llm_counts(client)}
        for i, (answer,) in zip(answerable, replies, strict=True):
            usable = answer.ok and not holds_marks(answer.text)
            new[i] = answer.text.strip() or None if usable else None
            reasonings[i] = answer.reasoning or None
    table = rows.select(
        "row_id",
        old=pl.Series([response_text(turns) for turns in messages], dtype=pl.String),
        new=pl.Series(new, dtype=pl.String),
        reasoning=pl.Series(reasonings, dtype=pl.String),
        confidence_old="score",
    )
    return Counted(table, {"rows_out": table.height - new.count(None), **counts})


@cached(
    version=VERSION,
    name="correct-comparisons",
    title="Compare new responses with old ones",
    wants=engine_wants,
)
def comparisons(
    rows: Table,
    answers: Table,
    engine: EngineSource,
    samples: int,
    seed: int,
    checker: Check,
    prompts: PromptFiles,
    criteria: str,
) -> Counted[pl.DataFrame]:
    """Return the answers, and how sure the judge is that the new one is better.

    That is null where there is nothing to compare: no answer, or the same one (`same`, which is null
    where two answers are not comparable by value, so that the judge alone decides).
    """
    table = answers.read()
    texts = rows.scan().select("row_id", "messages")
    turns = dict(texts.join(table.lazy(), on="row_id", how="semi").collect().iter_rows())
    lines = table.select("row_id", "old", "new").rows()
    same = [new is not None and same_answer(checker, old, new) for _, old, new in lines]
    warn_not_comparable("correct", same.count(None), len(lines))
    uncompared = [i for i, (*_, new) in enumerate(lines) if new is not None and not same[i]]
    pairs = [AnswerPair(question_text(turns[lines[i][0]]), *lines[i][1:]) for i in uncompared]
    preferences: list[PreferenceScore] = []
    counts: dict[str, Any] = {}
    if pairs:
        with open_client(engine) as client:
            preferences = compare_pairs(
                client,
                pairs,
                prompts.open(),
                samples=samples,
                seed=seed,
                criteria=criteria,
                stage="correct.compare",
            )
            counts = {"llm": llm_counts(client)}
    preferences_by_line = dict(zip(uncompared, preferences, strict=True))
    columns = [
        pl.Series(
            name,
            [getattr(preferences_by_line.get(i), name, None) for i in range(len(lines))],
            dtype=pl.Float64,
        )
        for name in ("confidence", "observed", "reflected")
    ]
    columns.append(pl.Series("same", same, dtype=pl.Boolean))
    figures = {"rows_out": len(pairs), "not_comparable": same.count(None), **counts}
    return Counted(table.with_columns(columns), figures)


@cached_files(version=ROWS_VERSION, name="correct-made", title="Make the corrected rows")
def write_corrections(out: Path, rows: Table, comparisons: Table, confidence: float) -> Counts:
    """Write corrections.parquet, with decision and made_id, and made.parquet: the new rows."""
    decision = (
        pl.when(pl.col("new").is_null()).then(pl.lit(NO_ANSWER))
        .when(pl.col("same")).then(pl.lit(SAME))
        .when(pl.col("confidence").is_null()).then(pl.lit(NO_JUDGEMENT))
        .when(pl.col("confidence") > confidence).then(pl.lit(REPLACED))
        .otherwise(pl.lit(NOT_BETTER))
    )  # fmt: skip
    table = comparisons.read().with_columns(decision=decision)
    ids = [
        derived_id(row_id, "correct") if verdict == REPLACED else None
        for row_id, verdict in table.select("row_id", "decision").rows()
    ]
    table = table.with_columns(made_id=pl.Series(ids, dtype=pl.String))
    table.write_parquet(out / "corrections.parquet")
    replaced = table.filter(decision=REPLACED).select("row_id", "new", "confidence")
    parents = rows.scan().join(replaced.lazy(), on="row_id", maintain_order="left").collect()
    corrected_rows(parents).write_parquet(out / f"{APPENDED}.parquet")
    return {"rows_in": table.height, "rows_out": replaced.height}


def corrected_rows(parents: pl.DataFrame) -> pl.DataFrame:
    """Return the new rows of the old ones, which have `new` and its `confidence`.

    The old response is rejected, unless the comparison was rather for it than for the new one: a
    `correct.confidence` below a half takes such a response as well, and that makes no pair.
    """
    messages = [
        [*turns[:-1], {"role": "assistant", "content": new}]
        for turns, new in parents.select("messages", "new").rows()
    ]
    notes = [
        {PAIR: pair_note("correct", row_id, 2 * confidence - 1)} if confidence > EVEN else {}
        for row_id, confidence in parents.select("row_id", "confidence").rows()
    ]
    metas = [
        orjson.dumps({**_without_pair(orjson.loads(meta)), **note}).decode()
        for meta, note in zip(parents["meta"], notes, strict=True)
    ]
    old = pl.when(parents["confidence"] > EVEN).then(parents["messages"].list.tail(1))
    return derive_rows(parents, messages, "correct").with_columns(
        rejected=old, meta=pl.Series(metas, dtype=pl.String)
    )


def _without_pair(meta: dict[str, JSON]) -> dict[str, JSON]:
    return {name: value for name, value in meta.items() if name != PAIR}


def _reason(params: CorrectStage) -> pl.Expr:
    reason = pl.when(pl.col("decision") == REPLACED).then(pl.lit(Reason.CORRECTED.value))
    if params.otherwise == "keep":
        return reason
    return reason.when(pl.col("decision").is_not_null()).then(pl.lit(Reason.LOW_CONFIDENCE.value))
