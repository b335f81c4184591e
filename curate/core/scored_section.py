"""The section of a stage that scores rows: how many went, the distribution, the rows of lowest score.

Every stage has it that brings no other one, those of other people too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curate.core.chart import Histogram
from curate.core.histogram_bins import equal_bins
from curate.core.numerals import counted, number, percent, significant
from curate.core.runrecord import StageRecord
from curate.core.section import (
    Block,
    Columns,
    DataTable,
    Figure,
    Heading,
    Inline,
    Item,
    Key,
    PassagePart,
    RowList,
    RowPart,
    Section,
    Strong,
    paragraph,
)

WORST = 8


@dataclass(frozen=True)
class ScoreSummary:
    """What a stage did by its scores: rows read, without a score, dropped; its threshold.

    `below` says whether low scores go (they are worse), or high ones.
    """

    rows: int
    unscored: int
    dropped: int
    threshold: float | None
    below: bool


def summarize_scores(evidence: pl.DataFrame) -> ScoreSummary:
    """Return the figures of a stage's verdicts (columns keep, score, threshold)."""
    means = dict(evidence.drop_nulls("score").group_by("keep").agg(pl.mean("score")).iter_rows())
    return ScoreSummary(
        rows=evidence.height,
        unscored=evidence["score"].null_count(),
        dropped=int((~evidence["keep"]).sum()),
        threshold=evidence["threshold"].max(),  # type: ignore[arg-type]
        below=means.get(False, float("-inf")) <= means.get(True, float("inf")),
    )


def scored_section(
    record: StageRecord,
    *,
    lead: Sequence[Inline] = (),
    score: str = "score",
    ends: tuple[float, float] | None = None,
    extras: Sequence[Block] = (),
    passages: Mapping[str, PassagePart] | None = None,
    facts: Mapping[str, Sequence[Inline]] | None = None,
) -> Section | None:
    """Return the section of a stage that scores rows, None if it dropped and scored none.

    Args:
        record: the stage in its run.
        lead: how the score came about, before the figures.
        score: what the score is, in one word.
        ends: the lowest and the highest score that there could be.
        extras: further blocks beside the chart.
        passages: what stands beside a row of low score, by row_id.
        facts: what stands above it, by row_id.
    """
    evidence = record.evidence().collect()
    scored = evidence.drop_nulls("score").sort("score", "row_id")
    summary = summarize_scores(evidence)
    if not scored.height and not summary.dropped:
        return None
    text = paragraph(*lead, *([" "] if lead else []), Strong(_dropped(summary)), _unscored(summary))
    blocks: list[Block] = [text, *extras]
    if scored.height:
        blocks = [Columns(((_histogram(summary, scored, score, ends),), tuple(blocks)))]
    if not scored.height:
        blocks.append(_reasons(evidence))
    elif summary.threshold is not None or scored["score"].n_unique() > 1:
        worst = (scored if summary.below else scored.reverse()).head(WORST)
        blocks.append(Heading(f"{'Lowest' if summary.below else 'Highest'} {score}s"))
        blocks.append(RowList(tuple(_items(worst, passages or {}, facts or {}))))
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _dropped(summary: ScoreSummary) -> str:
    if not summary.dropped:
        return f"None of {number(summary.rows)} rows was dropped."
    dropped = f"{number(summary.dropped)} of {number(summary.rows)} rows"
    were = "was" if summary.dropped == 1 else "were"
    if summary.threshold is None:
        return f"{dropped} {were} dropped."
    side = "below" if summary.below else "above"
    return f"{dropped} scored {side} the threshold and {were} dropped."


def _unscored(summary: ScoreSummary) -> str:
    if not summary.unscored or summary.unscored == summary.rows:
        return ""
    has = "has" if summary.unscored == 1 else "have"
    return f" {number(summary.unscored)} {has} no score, and stayed."


def _histogram(
    summary: ScoreSummary, scored: pl.DataFrame, score: str, ends: tuple[float, float] | None
) -> Figure:
    words = f"Histogram of the {score}s of {counted(scored.height, 'row')}."
    caption = f"{score.capitalize()}s of the rows"
    if summary.threshold is not None:
        side = "below" if summary.below else "above"
        words += f" {number(summary.dropped)} lie {side} {significant(summary.threshold)}."
        caption += f"; dashed: the threshold, {significant(summary.threshold)}"
    bins = tuple(equal_bins(scored, "score", ends))
    return Figure(Histogram(bins, score, words, summary.threshold), paragraph(f"{caption}."))


def _reasons(evidence: pl.DataFrame) -> DataTable:
    counts = evidence.filter(~pl.col("keep")).group_by("reason").len()
    ordered = counts.sort("len", "reason", descending=[True, False]).iter_rows()
    lines = tuple(
        (Key(reason), number(rows), percent(rows / evidence.height)) for reason, rows in ordered
    )
    return DataTable(("Reason", "#Rows", "#Share"), lines)


def _items(
    rows: pl.DataFrame,
    passages: Mapping[str, PassagePart],
    facts: Mapping[str, Sequence[Inline]],
) -> list[Item]:
    return [
        Item(
            (RowPart(row_id, "Row"), *([passages[row_id]] if row_id in passages else [])),
            significant(score),
            tuple(facts.get(row_id, ())),
        )
        for row_id, score in rows.select("row_id", "score").iter_rows()
    ]
