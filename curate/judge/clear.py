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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import Field, model_validator

from curate.answers.values import (
    CHECKED_HOW,
    Check,
    Form,
    find_form,
    same_value,
    warn_not_comparable,
)
from curate.core.ledger import survivors
from curate.core.reasons import Reason
from curate.core.registry import Params, StageData, StageResult, StepRun, stage
from curate.core.rows import Message, response_text
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table
from curate.judge.confidence import Labels
from curate.judge.contradiction import (
    AnswerPair,
    Kind,
    agree_by_embedding,
    agree_by_model,
    agree_by_nli,
    alike,
    identify_agreement,
)
from curate.judge.labels import labels_step
from curate.judge.measures import DECIMALS
from curate.judge.threshold import lowest_kept, median_or
from curate.llm.asking import (
    ask_all,
    llm_counts,
    open_client,
    question_text,
    seed_of,
    shorten_middle,
)
from curate.llm.engines.parameters import EngineParams, TransformersParams
from curate.llm.prompts import MethodPrompts
from curate.llm.requests import Request, Sampling, chat
from curate.llm.structured import Answer

VERSION = 4
# Of agreement against exact match, and of observed consistency against self-reflection.
ALPHA, BETA = 0.8, 0.7
REFLECTIONS = ("reflect", "doubt")
CERTAINTY = {"A": 1.0, "B": 0.0, "C": 0.5}
REFLECTION_SCHEMA = {
    "type": "object",
    "properties": {"answer": {"type": "string", "enum": list(CERTAINTY)}},
    "required": ["answer"],
    "additionalProperties": False,
}
NO_SAMPLE, NO_REFLECTION = "no usable sample", "no usable self-reflection"
NO_QUESTION = "no user turn before the response"


class ClearParams(Params):
    """Drop rows whose response a language model has little confidence in."""

    kind: Literal["clear"] = "clear"
    engine: EngineParams = TransformersParams()
    samples: int = Field(5, ge=1, description="answers drawn for each row")
    max_tokens: int = Field(256, ge=1, description="of a sampled answer; one that is cut is lost")
    agreement: Kind | None = Field(
        None, description="how texts are compared; by default nli if that is given, else embedding"
    )
    checker: Check = Field("auto", description=CHECKED_HOW)
    nli: str | None = Field(None, description="NLI cross-encoder: a folder or a hub id")
    embedder: str | None = Field(None, description="models.embedder if not given")
    threshold: Literal["median"] | Annotated[float, Field(ge=0, le=1)] = Field(
        "median", description="rows at or below it are dropped"
    )
    precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="instead of a threshold: the share of the labelled rows above it that is correct",
    )
    labels: Labels | None = Field(None, description="for precision")
    action: Literal["drop", "score"] = Field(
        "drop", description="score: keep all rows, for a later stage such as correct"
    )
    prompts: str | None = Field(None, description="folder whose clear/NAME.j2 come before ours")

    @model_validator(mode="after")
    def _check(self) -> "ClearParams":
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


def prepare_clear(
    run: StepRun, inputs: Mapping[str, Artifact], params: ClearParams
) -> Mapping[str, Artifact]:
    """Ask the model about all rows, then compare; labels are read where there are some."""
    engine, runtime = run.engine(params.engine)
    prompts = prompts_of(params.prompts)
    runtime = {**runtime, "prompts": params.prompts}
    step_params = {
        "engine": engine,
        "prompts": {name: prompts[name].digest for name in ("sample", *REFLECTIONS)},
        "seed": run.seed,
        **params.model_dump(include={"samples", "max_tokens"}),
    }
    # First, since the labels may be at fault.
    labels = _read_labels(run, inputs, params)
    answers = run.execute(
        Step("clear-samples", VERSION, write_samples, inputs, step_params, runtime)
    )
    identity, agreement_runtime = identify_agreement(
        run, params.comparison, nli=params.nli, embedder=params.embedder
    )
    if params.comparison == "model":
        identity |= {"engine": engine, "prompt": prompts["agree"].digest}
    identity |= {"checker": params.checker}
    step = Step(
        "clear-confidence", VERSION, write_confidence, {**inputs, "asked": answers}, identity,
        {**runtime, **agreement_runtime},
    )  # fmt: skip
    return {"confidence": run.execute(step), "samples": answers, "reflections": answers, **labels}


def _read_labels(
    run: StepRun, inputs: Mapping[str, Artifact], params: ClearParams
) -> dict[str, Artifact]:
    if params.labels is None:
        return {}
    return {"labels": run.execute(labels_step(inputs, Path(params.labels.path)))}


def prompts_of(folder: str | None, digests: Mapping[str, str] | None = None) -> MethodPrompts:
    """Return the prompts of this stage; the files must have the digests that are given."""
    return MethodPrompts("clear", Path(folder) if folder else None, digests)


def write_samples(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write samples.parquet (row_id, sample, text, failure) and reflections.parquet.

    A reflection has row_id, question ("reflect" or "doubt"), answer and failure.
    """
    rows = survivors(inputs).select("row_id", "messages").collect()
    ids, messages = rows["row_id"].to_list(), rows["messages"].to_list()
    prompts = prompts_of(runtime["prompts"], params["prompts"])
    answerable = [i for i, turns in enumerate(messages) if _is_answer(turns)]
    drawn = [_sample_request(messages[i], prompts, params) for i in answerable]
    doubted = [r for turns in messages for r in _reflection_requests(turns, prompts)]
    with open_client(runtime) as client:
        sampled = dict(zip(answerable, ask_all(client, drawn, "clear.samples"), strict=True))
        reflected = ask_all(client, doubted, "clear.reflections")
        counts = llm_counts(client)
    samples = [
        (ids[i], k, answer.text, answer.failure)
        for i in range(len(ids))
        for k, answer in enumerate(sampled.get(i, ()))
    ]
    schema = {"row_id": pl.String, "sample": pl.Int64, "text": pl.String, "failure": pl.String}
    pl.DataFrame(samples, schema=schema, orient="row").write_parquet(out / "samples.parquet")
    reflections = [
        (ids[n // 2], REFLECTIONS[n % 2], answer.value["answer"] if answer.ok else None,
         answer.failure)
        for n, (answer,) in enumerate(reflected)
    ]  # fmt: skip
    named = dict.fromkeys(("row_id", "question", "answer", "failure"), pl.String)
    pl.DataFrame(reflections, schema=named, orient="row").write_parquet(out / "reflections.parquet")
    useless = sum(failure is not None for *_, failure in samples)
    return {"rows_in": len(ids), "rows_out": len(ids), "useless_samples": useless, "llm": counts}


def _is_answer(messages: Sequence[Message]) -> bool:
    return len(messages) > 1 and messages[-2]["role"] != "assistant"


def _sample_request(
    messages: Sequence[Message], prompts: MethodPrompts, params: Mapping[str, Any]
) -> Request:
    """Return the row's own conversation; where its response is short, the model is told to be."""
    turns: list[Message] = [
        {"role": message["role"], "content": message["content"]} for message in messages[:-1]
    ]
    form = find_form(response_text(messages))
    if form not in (None, "final"):
        turns[-1] |= {"content": _hinted(prompts, turns[-1]["content"], form)}
    seed = seed_of(params["seed"], *(f"{m['role']}:{m['content']}" for m in turns))
    # At temperature 1, and from all tokens: an answer's share of the samples is its probability.
    sampling = Sampling(
        temperature=1.0, max_tokens=params["max_tokens"], n=params["samples"], seed=seed
    )
    return chat(turns, sampling=sampling)


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


def reflection(messages: Sequence[Message]) -> Request:
    """Return a question whose answer is A (correct), B (incorrect) or C (not sure)."""
    sampling = Sampling(temperature=0, max_tokens=16)
    return chat(messages, sampling=sampling, schema=REFLECTION_SCHEMA)


def certainty(answers: Sequence[Answer]) -> float | None:
    """Return the mean of usable self-reflections; None if there is none."""
    certainties = [CERTAINTY[answer.value["answer"]] for answer in answers if answer.ok]
    return float(np.mean(certainties)) if certainties else None


def write_confidence(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write confidence.parquet: row_id, o, s, c, samples, usable, not_comparable, form, reason."""
    answers = inputs["asked"]
    rows = survivors(inputs).select("row_id", "messages").collect()
    samples = read_table(answers.file("samples.parquet"))
    reflections = read_table(answers.file("reflections.parquet"))
    compared, counts = _compare(rows, samples.filter(pl.col("failure").is_null()), params, runtime)
    mean = pl.col("consistency").mean().round(DECIMALS)
    observed = compared.group_by("row_id").agg(
        o=mean, usable=pl.len(), not_comparable=pl.col("not_comparable").sum()
    )
    drawn = samples.group_by("row_id").agg(samples=pl.len())
    certain = pl.col("answer").replace_strict(CERTAINTY, return_dtype=pl.Float64)
    sure = reflections.drop_nulls("answer").group_by("row_id").agg(s=certain.mean())
    table = rows.select("row_id", form=_forms(rows["messages"].to_list(), params["checker"]))
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
    table.write_parquet(out / "confidence.parquet")
    unread = int(table["not_comparable"].sum())
    warn_not_comparable("clear", unread, compared.height)
    size = {"rows_in": table.height, "rows_out": table.height}
    return {**size, "unscored": table["c"].null_count(), "not_comparable": unread, **counts}


def _why_unscored() -> pl.Expr:
    return (
        pl.when(pl.col("samples") == 0).then(pl.lit(NO_QUESTION))
        .when(pl.col("usable") == 0).then(pl.lit(NO_SAMPLE))
        .when(pl.col("s").is_null()).then(pl.lit(NO_REFLECTION))
    )  # fmt: skip


def _forms(messages: Sequence[Sequence[Message]], check: Check) -> pl.Series:
    forms = [find_form(response_text(turns), check) for turns in messages]
    return pl.Series(forms, dtype=pl.String)


@dataclass(frozen=True)
class ValueComparison:
    """Comparison of a response and a sampled answer by value alone, before any text is compared."""

    form: Form | None
    equal: bool
    same: bool | None

    @property
    def not_comparable(self) -> bool:
        """Return whether the response has a value and the sample none to compare with it."""
        return self.form is not None and self.same is None and not self.equal

    @property
    def needs_text(self) -> bool:
        """Return whether the texts have to be compared."""
        return not self.equal and (self.same is None or self.form == "final")

    def consistency(self, text: float) -> float:
        """Return 0.8 s + 0.2 r; `text` is the agreement of the texts, where that is needed."""
        if self.equal:
            return 1.0
        if self.same is None:
            return ALPHA * text
        agreement = (self.same + text) / 2 if self.form == "final" else float(self.same)
        return ALPHA * agreement + (1 - ALPHA) * self.same


def compare_values(response: str, sample: str, check: Check = "auto") -> ValueComparison:
    """Return what values say of a response and a sampled answer."""
    form = find_form(response, check)
    same = None if form is None else same_value(form, response, sample)
    return ValueComparison(form, alike(response, sample), same)


def _compare(
    rows: pl.DataFrame, samples: pl.DataFrame, params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> tuple[pl.DataFrame, dict[str, Any]]:
    """Return row_id, consistency and not_comparable of every usable sample.

    Those that no model could compare go.
    """
    turns = dict(rows.iter_rows())
    lines = samples.select("row_id", "text").rows()
    check = params["checker"]
    comparisons = [
        compare_values(response_text(turns[row_id]), text, check) for row_id, text in lines
    ]
    uncompared = [i for i, comparison in enumerate(comparisons) if comparison.needs_text]
    pairs = [
        AnswerPair(
            question_text(turns[lines[i][0]]), response_text(turns[lines[i][0]]), lines[i][1]
        )
        for i in uncompared
    ]
    agreements = np.ones(len(lines))
    agreements[uncompared], counts = _agree(pairs, params, runtime)
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


def _agree(
    pairs: Sequence[AnswerPair], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    if not pairs:
        return np.empty(0), {}
    if params["agreement"] == "embedding":
        return agree_by_embedding(pairs, runtime["embedder"]), {}
    if params["agreement"] == "nli":
        identity = {"model": params["model"], "output": params["output"]}
        return agree_by_nli(pairs, Path(runtime["nli"]), identity), {}
    with open_client(runtime) as client:
        prompt = prompts_of(runtime["prompts"], {"agree": params["prompt"]})["agree"]
        agreements = agree_by_model(pairs, client, prompt, "clear.agree")
        return agreements, {"llm": llm_counts(client)}


@stage(
    ClearParams,
    version=2,
    prepare=prepare_clear,
    rethresholdable=("threshold", "precision", "action"),
    calls=lambda params, rows: rows * (params.samples + len(REFLECTIONS)),
)
def clear(data: StageData, params: ClearParams) -> StageResult:
    """Drop rows at or below the threshold; score is C, null where the model gave nothing to go by.

    The evidence has o, s, and how many samples could be used and how many not compared by value.
    """
    table = read_table(data.prepared["confidence"])
    # Runs of earlier versions do not have all of them.
    besides = [name for name in ("o", "s", "usable", "not_comparable") if name in table.columns]
    scores = table.select("row_id", *besides, score="c")
    limit = _limit(scores, data, params)
    low = (pl.col("score") <= pl.lit(limit, dtype=pl.Float64)).fill_null(value=False)
    evidence = (
        data.rows.select("row_id")
        .collect()
        .join(scores, on="row_id", how="left", maintain_order="left")
        .with_columns(
            keep=~low if params.action == "drop" else pl.lit(value=True),
            threshold=pl.lit(limit, dtype=pl.Float64),
            duplicate_of=pl.lit(None, dtype=pl.String),
        )
        .with_columns(reason=pl.when(~pl.col("keep")).then(pl.lit(Reason.LOW_CONFIDENCE.value)))
    )
    return StageResult(evidence)


def _limit(scores: pl.DataFrame, data: StageData, params: ClearParams) -> float | None:
    """Return the threshold; None where no row has a score."""
    if scores["score"].null_count() == scores.height:
        return None
    # A threshold that is a number comes first, since a sweep of thresholds changes it alone.
    if params.precision is not None and params.threshold == "median":
        labels = read_table(data.prepared["labels"])
        labelled = scores.drop_nulls("score").join(labels, on="row_id")
        lowest, below = lowest_kept(labelled, params.precision)
        # Rows stay if they score more than the threshold.
        return math.nextafter(lowest, -1) if below is None else below
    return median_or(params.threshold, scores["score"])
