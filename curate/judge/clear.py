"""CLEAR: how sure a language model is that a row's response is right, and what to drop by that.

    C = 0.7 O + 0.3 S
    O = mean over k sampled answers of 0.8 s + 0.2 r      s: agreement with the response, r: the same
    S = mean of two answers to "is this correct?"         correct 1, not sure 0.5, incorrect 0

Chen and Mueller 2024, "Automated Data Curation for Robust Language Model Fine-Tuning",
arXiv:2403.12776, with the confidence of BSDetector, Chen and Mueller 2023, arXiv:2308.16175: k = 5
answers at temperature 1 by the base model, the response is the training target. Rows stay if C is above
the threshold, by default the median, which always drops half of what is scored (ties included): give a
value, or a precision and labels, where most rows are good.

How s is found stands in curate.judge.contradiction. Short responses (a number, a letter, a few words)
are compared by value instead, and where both texts announce a final number, s is the mean of that
comparison and of the texts'; r is the equality of the values, else of the texts. With a `checker`, what
it can read is compared by it alone. A sample that names nothing comparable is compared as a text, and
counted (`not_comparable`). To a row with a short response the model is told to answer shortly, since a
sample that is cut says nothing.

A sample that failed or was cut at max_tokens is counted and left out. A row without a usable sample, or
about which the model gave no usable answer, has no score, says so in `reason`, and stays.

Cost: k generations and 2 short calls a row, and k comparisons. Stored once; thresholds are free.
Pitfalls: of an open question two good answers may have little in common, so creative rows go first; a
model is as sure of an error that it shares; one of 135M parameters knows little either way.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from curate.answers.values import (
    CHECKED_HOW,
    Check,
    find_form,
    warn_not_comparable,
)
from curate.core.calls import Counted, Table, cached, cached_files
from curate.core.keyed import EngineSource
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.rows import Message, response_text
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Counts
from curate.core.workload import Workload
from curate.judge.clear_section import clear_section
from curate.judge.contradiction import (
    Agreement,
    EmbeddingAgreement,
    Kind,
    ModelAgreement,
    nli_agreement,
)
from curate.judge.labels import Labels, label_survivors
from curate.judge.measures import DECIMALS
from curate.judge.threshold import lowest_kept, median_or
from curate.judge.valuecomparison import compare_values
from curate.llm.asking import (
    ask_all,
    llm_counts,
    open_client,
    question_text,
    seed_of,
    shorten_middle,
)
from curate.llm.compare import AnswerPair
from curate.llm.engines import engine_wants
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.prompts import MethodPrompts, PromptFiles
from curate.llm.reflections import BETA, CERTAINTY, REFLECTIONS, reflection
from curate.llm.requests import Request, Sampling, chat
from curate.llm.structured import Answer

VERSION = 4
NO_SAMPLE, NO_REFLECTION = "no usable sample", "no usable self-reflection"
NO_QUESTION = "no user turn before the response"


@method
class ClearStage(Stage):
    """Drop rows whose response a language model has little confidence in."""

    title: ClassVar[str] = "Confidence by sampled answers"
    version: ClassVar[int] = 2
    rethresholdable: ClassVar[tuple[str, ...]] = ("threshold", "precision", "action")

    method: Literal["clear"] = "clear"
    engine: EngineParams = TransformersParams()
    samples: int = Field(5, ge=1, description="answers drawn for each row")
    max_tokens: int = Field(256, ge=1, description="of a sampled answer; one that is cut is lost")
    agreement: Kind | None = Field(
        None, description="how texts are compared; by default nli if that is given, else embedding"
    )
    checker: Check = Field("auto", description=CHECKED_HOW)
    nli: str | None = Field(
        None,
        description="NLI cross-encoder: a folder or a hub id",
        examples=["cross-encoder/nli-deberta-v3-small"],
    )
    embedder: str | None = Field(
        None, description="models.embedder if not given", examples=["minilm"]
    )
    threshold: Literal["median"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "median", description="rows at or below it are dropped"
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="instead of a threshold: the share of the labelled rows above it that is correct",
        examples=[0.9],
    )
    labels: Labels | None = Field(
        None, description="for precision", examples=[{"path": "checked.jsonl"}]
    )
    action: Literal["drop", "score"] = Field(
        "drop", description="score: keep all rows, for a later stage such as correct"
    )
    prompts: str | None = Field(
        None, description="folder whose clear/NAME.j2 come before ours", examples=["prompts/"]
    )

    @model_validator(mode="after")
    def _check(self) -> "ClearStage":
        if (self.precision is None) != (self.labels is None):
            raise ValueError("precision and labels go together: give both or none")
        if self.precision is not None and self.threshold != "median":
            raise ValueError("give threshold or precision, not both: each says which rows go")
        if self.agreement == "nli" and self.nli is None:
            raise ValueError("agreement nli needs a model: give `nli`, a folder or a hub id")
        if self.nli is not None and self.agreement not in (None, "nli"):
            raise ValueError(f"nli is given, but agreement is {self.agreement!r}: leave out one")
        return self

    @property
    def comparison(self) -> Kind:
        """Return how texts are compared."""
        return self.agreement or ("nli" if self.nli else "embedding")

    def check(self) -> None:
        """Fail if the file of labels cannot be read.

        Raises:
            UserError: it is not there, or a line is no label.
        """
        if self.labels is not None:
            self.labels.check()

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Ask the model about all rows, then compare; labels are read where there are some."""
        engine, prompts = run.engine(self.engine), prompts_of(self.prompts)
        tables = {}
        if self.labels is not None:
            # First, since the labels may be at fault.
            tables["labels"] = label_survivors(run, data, Path(self.labels.path))
        questions = prompts.files("sample", *REFLECTIONS)
        stored = run(
            write_samples, data, engine, questions, run.seed, self.samples, self.max_tokens
        )
        tables |= {name: Table(stored, name) for name in ("samples", "reflections")}
        agreement: Agreement
        if self.comparison == "embedding":
            agreement = EmbeddingAgreement(run.embedder(self.embedder))
        elif self.nli is not None:
            agreement = nli_agreement(self.nli)
        else:
            agreement = ModelAgreement(engine, prompts.files("agree"), "clear.agree")
        tables["confidence"] = run(
            confidence, data, tables["samples"], tables["reflections"], agreement, self.checker
        )
        return tables

    def decide(self, data: StageData) -> StageResult:
        """Drop rows at or below the threshold; score is C, null where the model gave nothing to go by.

        The evidence has o, s, and how many samples could be used and how many not compared by value.
        """
        table = data.prepared["confidence"].read()
        # Runs of earlier versions do not have all of them.
        besides = [name for name in ("o", "s", "usable", "not_comparable") if name in table.columns]
        scores = table.select("row_id", *besides, score="c")
        limit = _limit(scores, data, self)
        low = (pl.col("score") <= pl.lit(limit, dtype=pl.Float64)).fill_null(value=False)
        evidence = (
            data.rows.select("row_id")
            .collect()
            .join(scores, on="row_id", how="left", maintain_order="left")
            .with_columns(
                keep=~low if self.action == "drop" else pl.lit(value=True),
                threshold=pl.lit(limit, dtype=pl.Float64),
                duplicate_of=pl.lit(None, dtype=pl.String),
            )
            .with_columns(reason=pl.when(~pl.col("keep")).then(pl.lit(Reason.LOW_CONFIDENCE.value)))
        )
        return StageResult(evidence)

    def section(self, record: StageRecord) -> Section | None:
        """Return the distribution of confidences, and doubted rows beside the model's answers."""
        return clear_section(record, self.samples)

    def cost(self, rows: int) -> Workload:
        """Return the calls that it takes at most."""
        return Workload(calls=rows * (self.samples + len(REFLECTIONS)))


def prompts_of(folder: str | None) -> MethodPrompts:
    """Return the prompts of this stage."""
    return MethodPrompts("clear", Path(folder) if folder else None)


@cached_files(
    version=VERSION,
    name="clear-samples",
    title="Sample answers to the rows' prompts",
    wants=engine_wants,
)
def write_samples(
    out: Path,
    data: StageInputs,
    engine: EngineSource,
    prompts: PromptFiles,
    seed: int,
    samples: int,
    max_tokens: int,
) -> Counts:
    """Write samples.parquet (row_id, sample, text, failure) and reflections.parquet.

    A reflection has row_id, question ("reflect" or "doubt"), answer and failure.
    """
    rows = data.survivors().select("row_id", "messages").collect()
    ids, messages = rows["row_id"].to_list(), rows["messages"].to_list()
    files = prompts.open()
    answerable = [i for i, turns in enumerate(messages) if _is_answer(turns)]
    # At temperature 1, and from all tokens: an answer's share of the samples is its probability.
    sampling = Sampling(temperature=1.0, max_tokens=max_tokens, n=samples)
    drawn = [_sample_request(messages[i], files, sampling, seed) for i in answerable]
    doubted = [r for turns in messages for r in _reflection_requests(turns, files)]
    with open_client(engine) as client:
        sampled = ask_all(client, drawn, "clear.samples")
        reflected = ask_all(client, doubted, "clear.reflections")
        counts = llm_counts(client)
    table = _sample_table([ids[i] for i in answerable], sampled)
    table.write_parquet(out / "samples.parquet")
    _reflection_table(ids, reflected).write_parquet(out / "reflections.parquet")
    useless = table["failure"].count()
    return {"rows_in": len(ids), "rows_out": len(ids), "useless_samples": useless, "llm": counts}


def _sample_table(ids: Sequence[str], sampled: Sequence[Sequence[Answer]]) -> pl.DataFrame:
    lines = [
        (row_id, k, answer.text, answer.failure)
        for row_id, answers in zip(ids, sampled, strict=True)
        for k, answer in enumerate(answers)
    ]
    schema = {"row_id": pl.String, "sample": pl.Int64, "text": pl.String, "failure": pl.String}
    return pl.DataFrame(lines, schema=schema, orient="row")


def _reflection_table(ids: Sequence[str], reflected: Sequence[Sequence[Answer]]) -> pl.DataFrame:
    lines = [
        (ids[n // 2], REFLECTIONS[n % 2], answer.value["answer"] if answer.ok else None,
         answer.failure)
        for n, (answer,) in enumerate(reflected)
    ]  # fmt: skip
    schema = dict.fromkeys(("row_id", "question", "answer", "failure"), pl.String)
    return pl.DataFrame(lines, schema=schema, orient="row")


def _is_answer(messages: Sequence[Message]) -> bool:
    return len(messages) > 1 and messages[-2]["role"] != "assistant"


def _sample_request(
    messages: Sequence[Message], prompts: MethodPrompts, sampling: Sampling, seed: int
) -> Request:
    """Return the row's own conversation; where its response is short, the model is told to be."""
    turns: list[Message] = [
        {"role": message["role"], "content": message["content"]} for message in messages[:-1]
    ]
    form = find_form(response_text(messages))
    if form not in (None, "final"):
        turns[-1] |= {"content": _hinted(prompts, turns[-1]["content"], form)}
    own = seed_of(seed, *(f"{m['role']}:{m['content']}" for m in turns))
    return chat(turns, sampling=sampling.model_copy(update={"seed": own}))


def _hinted(prompts: MethodPrompts, question: str, form: str | None) -> str:
    return prompts["sample"].fill(question=question, form=form)[-1]["content"]


def _reflection_requests(messages: Sequence[Message], prompts: MethodPrompts) -> list[Request]:
    return [
        reflection(
            prompts[name].fill(
                question=question_text(messages), answer=shorten_middle(response_text(messages))
            )
        )
        for name in REFLECTIONS
    ]


@cached(version=VERSION, name="clear-confidence", title="Compare sampled answers with responses")
def confidence(
    data: StageInputs, samples: Table, reflections: Table, agreement: Agreement, checker: Check
) -> Counted[pl.DataFrame]:
    """Return row_id, o, s, c, samples, usable, not_comparable, form, reason."""
    rows = data.survivors().select("row_id", "messages").collect()
    sampled = samples.read()
    usable = sampled.filter(pl.col("failure").is_null())
    compared, counts = _compare(rows, usable, agreement, checker)
    mean = pl.col("consistency").mean().round(DECIMALS)
    observed = compared.group_by("row_id").agg(
        o=mean, usable=pl.len(), not_comparable=pl.col("not_comparable").sum()
    )
    drawn = sampled.group_by("row_id").agg(samples=pl.len())
    certain = pl.col("answer").replace_strict(CERTAINTY, return_dtype=pl.Float64)
    sure = reflections.read().drop_nulls("answer").group_by("row_id").agg(s=certain.mean())
    table = rows.select("row_id", form=_forms(rows["messages"].to_list(), checker))
    for part in (observed, drawn, sure):
        table = table.join(part, on="row_id", how="left", maintain_order="left")
    table = table.select(
        "row_id", "o", "s",
        c=BETA * pl.col("o") + (1 - BETA) * pl.col("s"),
        samples=pl.col("samples").fill_null(0).cast(pl.Int64),
        usable=pl.col("usable").fill_null(0).cast(pl.Int64),
        not_comparable=pl.col("not_comparable").fill_null(0).cast(pl.Int64),
        form="form",
    ).with_columns(reason=_why_unscored())  # fmt: skip
    unread = int(table["not_comparable"].sum())
    warn_not_comparable("clear", unread, compared.height)
    unscored = table["c"].null_count()
    return Counted(table, {"unscored": unscored, "not_comparable": unread, **counts})


def _why_unscored() -> pl.Expr:
    return (
        pl.when(pl.col("samples") == 0).then(pl.lit(NO_QUESTION))
        .when(pl.col("usable") == 0).then(pl.lit(NO_SAMPLE))
        .when(pl.col("s").is_null()).then(pl.lit(NO_REFLECTION))
    )  # fmt: skip


def _forms(messages: Sequence[Sequence[Message]], check: Check) -> pl.Series:
    forms = [find_form(response_text(turns), check) for turns in messages]
    return pl.Series(forms, dtype=pl.String)


def _compare(
    rows: pl.DataFrame, samples: pl.DataFrame, agreement: Agreement, checker: Check
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return row_id, consistency and not_comparable of every usable sample.

    Those that no model could compare go.
    """
    turns = dict(rows.iter_rows())
    lines = samples.select("row_id", "text").rows()
    comparisons = [
        compare_values(response_text(turns[row_id]), text, checker) for row_id, text in lines
    ]
    uncompared = [i for i, comparison in enumerate(comparisons) if comparison.needs_text]
    pairs = [
        AnswerPair(
            question_text(turns[lines[i][0]]), response_text(turns[lines[i][0]]), lines[i][1]
        )
        for i in uncompared
    ]
    agreements = np.ones(len(lines))
    counts: dict[str, Any] = {}
    if pairs:
        agreements[uncompared], counts = agreement.agreements(pairs)
    values = [
        comparison.consistency(float(a))
        for comparison, a in zip(comparisons, agreements, strict=True)
    ]
    table = pl.DataFrame(
        {
            "row_id": [row_id for row_id, _ in lines],
            "consistency": values,
            "not_comparable": [comparison.not_comparable for comparison in comparisons],
        },
        schema={"row_id": pl.String, "consistency": pl.Float64, "not_comparable": pl.Boolean},
    )
    return table.filter(pl.col("consistency").is_not_nan()), counts


def _limit(scores: pl.DataFrame, data: StageData, params: ClearStage) -> float | None:
    """Return the threshold; None where no row has a score."""
    if scores["score"].null_count() == scores.height:
        return None
    # A threshold that is a number comes first, since a sweep of thresholds changes it alone.
    if params.precision is not None and params.threshold == "median":
        labels = data.prepared["labels"].read()
        labelled = scores.drop_nulls("score").join(labels, on="row_id")
        lowest, below = lowest_kept(labelled, params.precision)
        # Rows stay if they score more than the threshold.
        return math.nextafter(lowest, -1) if below is None else below
    return median_or(params.threshold, scores["score"])
