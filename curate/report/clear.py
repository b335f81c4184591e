"""Confidence by sampled answers: how sure the model was of the rows, and what became of doubted ones."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.histogram_bins import HistogramBin, equal_bins
from curate.judge.correct import REPLACED
from curate.report.differences import Side, show_sides
from curate.report.duplicates import stages_of
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.report.texts import TextView, excerpt
from curate.runs.folder import RunFolder

LOWEST, REPLACEMENTS = 8, 12
SAMPLES = 2


@dataclass(frozen=True)
class DoubtfulRow:
    """A row of low confidence by CLEAR: observed (O), self-reflected (S), and the sampled answers."""

    row: RowView
    confidence: float
    observed: float
    reflected: float
    samples: tuple[TextView, ...]


@dataclass(frozen=True)
class Filter:
    """A stage that found confidences; `lowest` are the rows of the lowest ones."""

    stage: str
    params: Mapping[str, Any]
    rows: int
    unscored: int
    doubted: int
    dropped: int
    useless: int
    threshold: float | None
    bins: tuple[HistogramBin, ...]  # `dropped` are the doubted ones
    lowest: tuple[DoubtfulRow, ...]


@dataclass(frozen=True)
class Replacement:
    """A row and the one that came in its place."""

    confidence_old: float
    confidence: float
    old: Side
    new: Side


@dataclass(frozen=True)
class Correction:
    """A stage that corrected: counts of doubted rows by decision, and the first `replacements`."""

    stage: str
    params: Mapping[str, Any]
    decisions: tuple[tuple[str, int], ...]
    replacements: tuple[Replacement, ...]

    @property
    def doubted(self) -> int:
        """Return how many rows were doubted."""
        return sum(count for _, count in self.decisions)

    @property
    def replaced(self) -> int:
        """Return how many rows were replaced."""
        return dict(self.decisions).get(REPLACED, 0)


@dataclass(frozen=True)
class ClearView:
    """The stages `clear` (confidence filters) and `correct` (corrections), in their order."""

    filters: tuple[Filter, ...]
    corrections: tuple[Correction, ...]


def gather_clear(run: RunFolder) -> ClearView | None:
    """Return None where no such stage ran."""
    filters = tuple(_filter(run, n, p) for n, p in stages_of(run, ["clear"]).items())
    corrections = tuple(_correction(run, n, p) for n, p in stages_of(run, ["correct"]).items())
    return ClearView(filters, corrections) if filters or corrections else None


def _filter(run: RunFolder, stage: str, params: Mapping[str, Any]) -> Filter:
    confidences = run.table(f"evidence/{stage}-confidence").collect()
    drawn = confidences.select(pl.col("samples").sum() - pl.col("usable").sum())
    evidence = run.table(f"evidence/{stage}").collect()
    limits = evidence["threshold"].drop_nulls()
    threshold = float(limits[0]) if len(limits) else None
    scored = confidences.drop_nulls("c").sort("c", "row_id")
    judged = scored.with_columns(keep=pl.col("c") > (-1.0 if threshold is None else threshold))
    doubted = judged.filter(~pl.col("keep"))
    lines = doubted.head(LOWEST)
    rows = read_rows(run, lines["row_id"])
    return Filter(
        stage=stage,
        params=params,
        rows=confidences.height,
        unscored=confidences.height - scored.height,
        doubted=doubted.height,
        dropped=int((~evidence["keep"]).sum()),
        useless=int(drawn.item()),
        threshold=threshold,
        bins=tuple(equal_bins(judged, "c", (0.0, 1.0))),
        lowest=tuple(_lowest(run, stage, lines, rows)),
    )


def _lowest(run: RunFolder, stage: str, lines: pl.DataFrame, rows: Rows) -> Iterator[DoubtfulRow]:
    samples = run.table(f"evidence/{stage}-samples").filter(
        pl.col("row_id").is_in(lines["row_id"].implode()), pl.col("failure").is_null()
    )
    texts: dict[str, list[str]] = {}
    for row_id, text in samples.sort("row_id", "sample").select("row_id", "text").collect().rows():
        texts.setdefault(row_id, []).append(text)
    for line in lines.to_dicts():
        answers = texts.get(line["row_id"], [])[:SAMPLES]
        yield DoubtfulRow(
            row=show_example(line["row_id"], rows, {}, None),
            confidence=line["c"],
            observed=line["o"],
            reflected=line["s"],
            samples=tuple(excerpt(text) for text in answers),
        )


def _correction(run: RunFolder, stage: str, params: Mapping[str, Any]) -> Correction:
    corrections = run.table(f"evidence/{stage}-corrections").collect()
    counts = (
        corrections.group_by("decision").len().sort("len", "decision", descending=[True, False])
    )
    replaced = corrections.filter(decision=REPLACED).sort(
        "confidence", "row_id", descending=[True, False]
    )
    lines = replaced.head(REPLACEMENTS).to_dicts()
    rows = read_rows(run, [line[key] for line in lines for key in ("row_id", "made_id")])
    replacements = [
        Replacement(
            line["confidence_old"],
            line["confidence"],
            *show_sides(line["row_id"], line["made_id"], rows, expect_alike=False),
        )
        for line in lines
    ]
    return Correction(stage, params, tuple(counts.iter_rows()), tuple(replacements))
