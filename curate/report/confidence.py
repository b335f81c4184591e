"""Confidence by cheap signals: how the scores are spread and, with labels, what they are worth."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.histogram_bins import HistogramBin, equal_bins
from curate.core.numerals import fraction
from curate.judge.measures import calibration_error
from curate.judge.signals import ORIENTATION
from curate.report.duplicates import stages_of
from curate.report.examples import RowView, read_rows, show_example
from curate.runs.folder import RunFolder

LOWEST = 6


@dataclass(frozen=True)
class SignalHistogram:
    """The histogram of a signal, and how many rows lack it."""

    name: str
    missing: int
    bins: tuple[HistogramBin, ...]


@dataclass(frozen=True)
class SignalQuality:
    """AUROC of a score on labelled rows: right against wrong ones."""

    name: str
    rows: int
    wrong: int
    auroc: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ReliabilityBin:
    """A bin of a reliability diagram: mean confidence of its rows, and the share that is right."""

    rows: int
    confidence: float
    right: float


@dataclass(frozen=True)
class CalibrationView:
    """Calibration of the scores on labelled rows; `worths` end with the mean rank and the confidence."""

    rows: int
    wrong: int
    ece: float | None
    brier: float | None
    worths: tuple[SignalQuality, ...]
    bins: tuple[ReliabilityBin, ...]


@dataclass(frozen=True)
class LowConfidenceRow:
    """A row of low confidence, and whether the stage kept it."""

    row: RowView
    score: float
    keep: bool


@dataclass(frozen=True)
class Confidence:
    """A stage of confidence; `labelled` is None where it had no labels."""

    stage: str
    params: Mapping[str, Any]
    rows: int
    unscored: int
    dropped: int
    share: str
    threshold: float | None
    bins: tuple[HistogramBin, ...]
    signals: tuple[SignalHistogram, ...]
    labelled: CalibrationView | None
    lowest: tuple[LowConfidenceRow, ...]


def gather_confidence(run: RunFolder) -> tuple[Confidence, ...]:
    """Return the run's stages of this kind in their order."""
    return tuple(_gather(run, *stage) for stage in stages_of(run, ["confidence"]).items())


def _gather(run: RunFolder, stage: str, params: Mapping[str, Any]) -> Confidence:
    evidence = run.table(f"evidence/{stage}").collect()
    signals = run.table(f"evidence/{stage}-signals").collect()
    scored_signals = evidence.select("row_id", "keep", "score").join(
        signals, on="row_id", how="left"
    )
    scored = evidence.drop_nulls("score")
    spreads = [
        SignalHistogram(name, signals[name].null_count(), tuple(equal_bins(scored_signals, name)))
        for name in ORIENTATION
    ]
    return Confidence(
        stage=stage,
        params=params,
        rows=evidence.height,
        unscored=evidence.height - scored.height,
        dropped=int((~evidence["keep"]).sum()),
        share=fraction(float((~scored["keep"]).mean() or 0)),  # type: ignore[arg-type]
        threshold=evidence["threshold"].max(),  # type: ignore[arg-type]
        bins=tuple(equal_bins(scored, "score", (0.0, 1.0))),
        signals=tuple(spreads),
        labelled=_labelled(run, stage),
        lowest=tuple(_lowest(run, scored.sort("score", "row_id").head(LOWEST))),
    )


def _labelled(run: RunFolder, stage: str) -> CalibrationView | None:
    if not run.has(f"evidence/{stage}-quality"):
        return None
    quality = run.table(f"evidence/{stage}-quality").collect()
    bins = run.table(f"evidence/{stage}-reliability").collect()
    own = quality.row(-1, named=True)
    columns = ("signal", "rows", "wrong", "auroc", "low", "high")
    return CalibrationView(
        rows=own["rows"],
        wrong=own["wrong"],
        ece=calibration_error(bins) if bins.height else None,
        brier=own["brier"],
        worths=tuple(SignalQuality(*line) for line in quality.select(columns).iter_rows()),
        bins=tuple(
            ReliabilityBin(*b) for b in bins.select("rows", "confidence", "right").iter_rows()
        ),
    )


def _lowest(run: RunFolder, lines: pl.DataFrame) -> Iterator[LowConfidenceRow]:
    rows = read_rows(run, lines["row_id"])
    for row_id, score, keep in lines.select("row_id", "score", "keep").iter_rows():
        yield LowConfidenceRow(show_example(row_id, rows, {}, None), score, keep)
