"""Confidence: how likely a row's response is right, from cheap signals, with labels if there are any.

    {"row_id": "web/a.jsonl:7", "correct": false}        a line of the labels' file

Without labels the score is the mean of the signals' ranks (curate.judge.signals), 0 to 1: an order, no
probability, and half the pool is below the middle however good it is. With labels it is the
cross-fitted probability of curate.judge.calibration, for rows without a label as well.

A row is dropped if its score is below the threshold. That is given as it is, or as the share of rows
to `drop`, or (with labels) as the `precision` of what is kept: the lowest threshold at which that share
of the kept labelled rows is right. Without any of these nothing is dropped and the scores stand in
the evidence, where `select.filter` finds them. A row without any signal has no score and stays.

Labels with weights (`curate label` draws so) are of rows that were not drawn alike. The fit takes them
as they are, since what they were drawn by it sees of a row; every share and mean that says how good it
is, and the threshold of a precision, weigh them.

Tables beside the verdicts: signals; with labels also `quality` (AUROC with DeLong's interval of each
signal, of the mean rank and of the confidence; ECE and Brier score of the latter) and `reliability`.

Cost: two forward passes of the base model, with the vocabulary head before responses only: over all
tokens, which perplexity, IFD and RDS+ share, and over responses alone, which IFD shares.
Pitfalls: a threshold for a precision is found on the rows that it is judged on, so it is a little too
low; labels without weights must be drawn from the pool at random, or the probabilities are those of
another pool.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl
from pydantic import Field, model_validator

from curate.answers.values import CHECKED_HOW, Check
from curate.core.calls import Table
from curate.core.cut import RETHRESHOLDABLE, CutParams, cut_rows
from curate.core.methods import method
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.workload import ResponseLimit, Workload
from curate.judge.calibration import cross_fit, deal_folds, standardise
from curate.judge.confidence_section import confidence_section
from curate.judge.labels import Labels, label_survivors
from curate.judge.measures import DECIMALS, Floats, auroc, brier, calibration_error, reliability
from curate.judge.signals import mean_rank, measure_signals, oriented
from curate.judge.threshold import lowest_kept


@method
class ConfidenceStage(CutParams, Stage):
    """Score how likely each response is right, without sampling; drop below a threshold if given."""

    title: ClassVar[str] = "Confidence by cheap signals"
    version: ClassVar[int] = 3
    rethresholdable: ClassVar[tuple[str, ...]] = (*RETHRESHOLDABLE, "precision", "calibration")

    does: ClassVar[str] = "scores rows"

    method: Literal["confidence"] = "confidence"
    precision: float | None = Field(
        None,
        gt=0,
        le=1,
        description="share of the kept labelled rows that must be right",
        examples=[0.9],
    )
    labels: Labels | None = Field(
        None,
        description="without any, the score is a mean of ranks",
        examples=[{"path": "checked.jsonl"}],
    )
    calibration: Literal["logistic", "isotonic"] = Field(
        "logistic", description="isotonic needs some hundreds of labels"
    )
    neighbours: int = Field(5, gt=0, description="nearest prompts whose responses are compared")
    floor: float = Field(0.6, gt=0, le=1, description="smallest cosine of their prompts")
    checker: Check = Field("auto", description=CHECKED_HOW)
    embedder: str | None = Field(
        None, description="models.embedder if not given", examples=["minilm"]
    )
    max_length: int = Field(2048, gt=0, description="tokens; longer rows are cut at the end")

    @model_validator(mode="after")
    def _check(self) -> "ConfidenceStage":
        if self.precision is not None and (self.threshold, self.drop) != (None, None):
            raise ValueError(
                "give one of threshold, drop and precision: each says which rows go; set the others "
                "to null"
            )
        if self.labels is None and self.precision is not None:
            raise ValueError("precision is a share of labelled rows: give labels too")
        if self.labels is None and self.calibration == "isotonic":
            raise ValueError("isotonic calibration is fitted to labels: give labels too")
        return self

    def check(self) -> None:
        """Fail if the file of labels cannot be read.

        Raises:
            UserError: it is not there, or a line is no label.
        """
        if self.labels is not None:
            self.labels.check()

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the signals of all rows and any labels; these first, since they may be at fault."""
        tables = {}
        if self.labels is not None:
            tables["labels"] = label_survivors(run, data, Path(self.labels.path))
        tables["signals"] = measure_signals(
            run,
            data,
            max_length=self.max_length,
            embedder=self.embedder,
            neighbours=self.neighbours,
            floor=self.floor,
            checker=self.checker,
        )
        return tables

    def decide(self, data: StageData) -> StageResult:
        """Drop every row whose score is below the threshold; the evidence has the signals besides."""

        def judged(scores: pl.Series, labels: pl.DataFrame | None) -> pl.DataFrame:
            cut = find_cut(scores, labels, self)
            verdicts = cut_rows(data, ids.with_columns(score=scores), cut, Reason.LOW_CONFIDENCE)
            return verdicts.join(signals, on="row_id", how="left", maintain_order="left")

        ids = data.rows.select("row_id").collect()
        signals = ids.join(
            data.prepared["signals"].read(), on="row_id", how="left", maintain_order="left"
        )
        ranks = mean_rank(signals)
        if "labels" not in data.prepared:
            return StageResult(judged(ranks, None))
        labels = data.prepared["labels"].read()
        labels = ids.join(labels, on="row_id", how="left", maintain_order="left").drop("row_id")
        chances = _probabilities(signals, labels["correct"], self)
        return StageResult(judged(chances, labels), _tables(signals, ranks, chances, labels))

    def section(self, record: StageRecord) -> Section | None:
        """Return the spread of scores and signals and, with labels, how good they are."""
        return confidence_section(record, self.calibration)

    def cost(self, rows: int) -> Workload:
        """Return two passes of the base model, with prompts and without, and embeddings."""
        return Workload(
            read_rows=2 * rows,
            max_length=self.max_length,
            heads=("response",),
            limit=ResponseLimit(self.max_length),
            embedded_rows=rows,
            embedder=self.embedder,
        )


def _probabilities(signals: pl.DataFrame, correct: pl.Series, params: ConfidenceStage) -> pl.Series:
    """Return the cross-fitted probabilities; null for a row without any signal."""
    values = oriented(signals).to_numpy().astype(np.float64)
    labelled = correct.is_not_null().to_numpy()
    folds = np.zeros(len(labelled), dtype=np.int64)
    folds[labelled] = deal_folds(signals["row_id"].filter(labelled).to_list())
    right = correct.fill_null(value=False).to_numpy()
    chances = cross_fit(
        standardise(values), labelled, right, folds, isotonic=params.calibration == "isotonic"
    )
    blank = ~np.isfinite(values).any(axis=1)
    return pl.Series("score", np.where(blank, np.nan, chances.round(DECIMALS))).fill_nan(None)


def find_cut(scores: pl.Series, labels: pl.DataFrame | None, params: ConfidenceStage) -> CutParams:
    """Return where to cut, the precision turned into a threshold.

    `labels` has `correct`, null of a row without a label, and `weight` where rows were not drawn alike.

    Raises:
        UserError: no threshold reaches the precision.
    """
    # A threshold comes first, since a sweep of thresholds changes it alone.
    if params.precision is None or params.threshold is not None or labels is None:
        return params
    labelled = labels.with_columns(score=scores).drop_nulls()
    return CutParams(threshold=lowest_kept(labelled, params.precision)[0])


def _tables(
    signals: pl.DataFrame, ranks: pl.Series, chances: pl.Series, labels: pl.DataFrame
) -> dict[str, pl.DataFrame]:
    """Return quality and reliability, from the rows that have a label."""
    scores = oriented(signals).with_columns(mean_rank=ranks, confidence=chances)
    labelled = pl.concat([scores, labels], how="horizontal").drop_nulls("correct")
    rated = labelled.drop_nulls("confidence")
    return {
        "quality": pl.DataFrame([_quality(labelled, n) for n in scores.columns], schema=QUALITY),
        "reliability": reliability(
            rated["confidence"].to_numpy(), rated["correct"].to_numpy(), _weights(rated)
        ),
    }


def _weights(labelled: pl.DataFrame) -> Floats | None:
    return labelled["weight"].to_numpy() if "weight" in labelled.columns else None


QUALITY = {
    "signal": pl.String,
    "rows": pl.Int64,
    "wrong": pl.Int64,
    "auroc": pl.Float64,
    "low": pl.Float64,
    "high": pl.Float64,
    "ece": pl.Float64,
    "brier": pl.Float64,
}


def _quality(labelled: pl.DataFrame, name: str) -> dict[str, Any]:
    """Return the line of one score: only the confidence is a probability."""
    scored = labelled.drop_nulls(name)
    values, right, weights = scored[name].to_numpy(), scored["correct"].to_numpy(), _weights(scored)
    area = auroc(values, right, weights) if len(right) else None
    line: dict[str, Any] = {"signal": name, "rows": len(right), "wrong": int((~right).sum())}
    if area is not None:
        line |= {"auroc": area.value, "low": area.low, "high": area.high}
    if name == "confidence" and len(right):
        ece = calibration_error(reliability(values, right, weights))
        line |= {"ece": ece, "brier": brier(values, right, weights)}
    return line
