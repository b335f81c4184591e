"""Confidence by sampled answers in the report: its distribution, and the rows that it doubts most."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from curate.core.chart import Histogram
from curate.core.histogram_bins import equal_bins
from curate.core.numerals import counted, number, significant, similarity
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import (
    Block,
    Columns,
    Figure,
    Heading,
    Item,
    Paragraph,
    RowList,
    RowPart,
    Section,
    Strong,
    paragraph,
)
from curate.judge.section_parts import answers_part

LOWEST = 8
SAMPLES = 2


@dataclass(frozen=True)
class DoubtSummary:
    """What the stage found: `confidences` (row_id, c, o, s, keep) of scored rows, lowest first.

    keep says whether a row lies above the threshold, also where the stage drops none; `useless` samples
    were cut or failed.
    """

    rows: int
    dropped: int
    useless: int
    threshold: float | None
    confidences: pl.DataFrame

    @property
    def unscored(self) -> int:
        """Return how many rows have no confidence."""
        return self.rows - self.confidences.height

    @property
    def doubted(self) -> pl.DataFrame:
        """Return the rows at or below the threshold."""
        return self.confidences.filter(~pl.col("keep"))


def summarize_doubts(record: StageRecord) -> DoubtSummary:
    """Return the figures of a stage's confidences and verdicts."""
    table = record.table("confidence").collect()
    evidence = record.evidence().select("keep", "threshold").collect()
    threshold: float | None = evidence["threshold"].max()  # type: ignore[assignment]
    above = pl.col("c") > (-1.0 if threshold is None else threshold)
    return DoubtSummary(
        rows=table.height,
        dropped=int((~evidence["keep"]).sum()),
        useless=int((table["samples"] - table["usable"]).sum()),
        threshold=threshold,
        confidences=table.drop_nulls("c").sort("c", "row_id").with_columns(keep=above),
    )


def clear_section(record: StageRecord, samples: int) -> Section | None:
    """Return the distribution of confidences, and the doubted rows beside the model's own answers.

    Args:
        record: the stage in its run.
        samples: how many answers to each prompt were drawn.
    """
    if not (record.has("confidence") and record.has("samples")):
        return scored_section(record)
    doubts = summarize_doubts(record)
    text = (_lead(samples), _dropped(doubts))
    blocks: list[Block] = [*text]
    if doubts.confidences.height:
        blocks = [Columns(((_histogram(doubts),), text))]
    lowest = doubts.doubted.head(LOWEST)
    if lowest.height:
        blocks += [Heading("Lowest confidence"), RowList(tuple(_items(record, lowest)))]
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _lead(samples: int) -> Paragraph:
    return paragraph(
        f"The model answered each prompt {counted(samples, 'time')} itself and was asked twice whether "
        "the row's response is correct: 0.7 × agreement of its answers with the response + 0.3 × its "
        "own judgement (CLEAR, arXiv:2403.12776). A model is as sure of an error that it shares; of an "
        "open question two good answers may have little in common."
    )


def _dropped(doubts: DoubtSummary) -> Paragraph:
    rows, doubted = counted(doubts.rows, "row"), doubts.doubted.height
    count = doubts.dropped or doubted
    were, are = ("was", "is") if count == 1 else ("were", "are")
    if doubts.dropped:
        text = f"{number(count)} of {rows} at or below the threshold {were} dropped."
    elif doubted:
        text = f"{number(count)} of {rows} {are} at or below the threshold; this stage kept "
        text += "it." if count == 1 else "them."
    else:
        text = f"None of {rows} is at or below a threshold."
    unscored, useless = doubts.unscored, doubts.useless
    has = "has" if unscored == 1 else "have"
    were = "was" if useless == 1 else "were"
    return paragraph(
        Strong(text),
        f" {number(unscored)} {has} no score, for want of a usable answer, and stayed."
        if unscored
        else "",
        f" {counted(useless, 'sampled answer')} {were} cut or failed." if useless else "",
    )


def _histogram(doubts: DoubtSummary) -> Figure:
    words = f"Histogram of the confidence in {counted(doubts.confidences.height, 'row')}."
    caption = "Confidence in the rows' responses"
    if doubts.threshold is not None:
        count = number(doubts.doubted.height)
        words += f" {count} lie at {significant(doubts.threshold)} or below."
        caption += f"; dashed: the threshold, {similarity(doubts.threshold)}"
    bins = tuple(equal_bins(doubts.confidences, "c", (0.0, 1.0)))
    return Figure(Histogram(bins, "confidence", words, doubts.threshold), paragraph(f"{caption}."))


def _items(record: StageRecord, lowest: pl.DataFrame) -> Iterator[Item]:
    samples = record.table("samples").filter(pl.col("failure").is_null())
    texts = (
        samples.join(lowest.lazy().select("row_id"), on="row_id", how="semi")
        .sort("row_id", "sample")
        .group_by("row_id", maintain_order=True)
        .agg(pl.col("text").head(SAMPLES))
    )
    texts_by_row = dict(texts.collect().iter_rows())
    for row_id, confidence, observed, reflected in lowest.select(
        "row_id", "c", "o", "s"
    ).iter_rows():
        yield Item(
            (RowPart(row_id, "Row"), *answers_part("sample", texts_by_row.get(row_id, ()))),
            similarity(confidence, fixed=True),
            (f"samples {similarity(observed)}", f"self-reflection {similarity(reflected)}"),
        )
