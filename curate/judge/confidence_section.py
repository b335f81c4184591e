"""Cheap confidence in the report: spread of scores and signals and, with labels, how good they are."""

from collections.abc import Mapping

import polars as pl

from curate.core.chart import Histogram, Histograms, ReliabilityChart
from curate.core.histogram_bins import equal_bins
from curate.core.numerals import (
    counted,
    fraction,
    measure,
    number,
    overlap,
    percent,
    significant,
    similarity,
)
from curate.core.runrecord import StageRecord
from curate.core.scored_section import ScoreSummary, scored_section, summarize_scores
from curate.core.section import (
    Block,
    Columns,
    DataTable,
    Figure,
    Heading,
    Item,
    Key,
    Paragraph,
    RowList,
    RowPart,
    Section,
    paragraph,
)
from curate.judge.signals import ORIENTATION

LOWEST = 6
MEAN_RANK = (
    "The score is the mean rank of the signals, 0 to 1: an order, and no probability. Labels of some "
    "rows would make it one."
)
MEANINGS: Mapping[str, str] = {
    "mean_logprob": "mean log-probability of the response's tokens",
    "min_logprob": "log-probability of its least likely token",
    "entropy": "mean entropy before its tokens; lower is better",
    "prompt_gain": "what the prompt helps: loss without it, less loss with it",
    "agreement": "with the responses to the nearest prompts",
    "relevance": "likeness of prompt and response",
    "mean_rank": "all signals without labels",
    "confidence": "all signals with labels, cross-fitted",
}


def confidence_section(record: StageRecord, calibration: str) -> Section | None:
    """Return the scores and signals, their quality on labelled rows, and the rows of lowest score.

    Args:
        record: the stage in its run.
        calibration: how probabilities are fitted to labels.
    """
    if not record.has("signals"):
        return scored_section(record)
    evidence = record.evidence().select("row_id", "keep", "score", "threshold").collect()
    summary, scored = summarize_scores(evidence), evidence.drop_nulls("score")
    quality = record.table("quality").collect() if record.has("quality") else None
    lead = _lead(summary, MEAN_RANK if quality is None else _probability(quality, calibration))
    blocks: list[Block] = [lead]
    if scored.height:
        charts = _scores(summary, scored, labelled=quality is not None), *_reliability(record)
        blocks.append(Columns((charts, _signals(record, evidence, summary))))
        blocks += [] if quality is None else [_quality(quality)]
        blocks += [Heading("The lowest scores"), _lowest(scored)]
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _lead(summary: ScoreSummary, score: str) -> Paragraph:
    rows = counted(summary.rows, "row")
    if summary.threshold is None:
        cut = "No threshold was given, so no row was dropped."
    else:
        were = "was" if summary.dropped == 1 else "were"
        limit = measure(summary.threshold)
        cut = f"{number(summary.dropped)} of {rows} scored below {limit} and {were} dropped"
        share = fraction(summary.dropped / max(summary.rows - summary.unscored, 1))
        cut += f": the least likely {share} of those with a score." if summary.dropped else "."
    lacking = counted(summary.unscored, "row has", "rows have")
    unscored = f" {lacking} no signal at all, and so no score." if summary.unscored else ""
    return paragraph(score, " ", cut, unscored)


def _probability(quality: pl.DataFrame, calibration: str) -> str:
    rows, wrong = quality.select("rows", "wrong").row(-1)
    return (
        f"The score is the probability that a response is right: a {calibration} fit to "
        f"{counted(rows, 'labelled row')}, {number(wrong)} of them wrong. No row's score was made with "
        "its own label."
    )


def _scores(summary: ScoreSummary, scored: pl.DataFrame, *, labelled: bool) -> Figure:
    title = "probability of being right" if labelled else "mean rank of the signals"
    words = f"Histogram of the confidence in {counted(scored.height, 'row')}."
    caption = "All scores."
    if summary.threshold is not None:
        words += f" {number(summary.dropped)} lie below {significant(summary.threshold)}."
        caption += " Dashed: the threshold."
    bins = tuple(equal_bins(scored, "score", (0.0, 1.0)))
    return Figure(Histogram(bins, title, words, summary.threshold), paragraph(caption))


def _reliability(record: StageRecord) -> tuple[Figure, ...]:
    """Return how often rows are right by their confidence, nothing without labelled rows."""
    if not record.has("reliability"):
        return ()
    bins = record.table("reliability").select("confidence", "right").collect().rows()
    if not bins:
        return ()
    own = record.table("quality").filter(signal="confidence").collect().row(0, named=True)
    shares = "; ".join(f"{percent(right)} right at {percent(at)}" for at, right in bins)
    caption = (
        "Ten parts of the labelled rows, by their confidence: how often each is right. Expected "
        f"calibration error {measure(own['ece'])}, Brier score {measure(own['brier'])}."
    )
    chart = ReliabilityChart(tuple(bins), f"Reliability: {shares}.")
    return (Figure(chart, paragraph(caption)),)


def _signals(
    record: StageRecord, evidence: pl.DataFrame, summary: ScoreSummary
) -> tuple[Figure, ...]:
    """Return a histogram of each signal that some row has."""
    signals = record.table("signals").select("row_id", *ORIENTATION).collect()
    table = evidence.select("row_id", "keep").join(signals, on="row_id", how="left")
    panels = [(_words(name), tuple(equal_bins(table, name))) for name in ORIENTATION]
    panels = [(name, bins) for name, bins in panels if bins]
    if not panels:
        return ()
    ranges = "; ".join(
        f"{name} from {significant(bins[0].low)} to {significant(bins[-1].high)}"
        for name, bins in panels
    )
    caption = f"Each signal{', dropped rows below the others' if summary.dropped else ''}."
    chart = Histograms(tuple(panels), f"Histograms of the signals: {ranges}.")
    return (Figure(chart, paragraph(caption)),)


def _quality(quality: pl.DataFrame) -> DataTable:
    """Return the AUROC of each score, of right against wrong rows; the last one is the stage's own."""
    lines = tuple(
        (
            (_words(name), " ", Key(MEANINGS[name])),
            number(rows),
            overlap(auroc),
            "–" if low is None else f"{overlap(low)} to {overlap(high)}",
        )
        for name, rows, auroc, low, high in quality.select(
            "signal", "rows", "auroc", "low", "high"
        ).iter_rows()
    )
    columns = ("Score", "#Rows", "#AUROC", "#95 % interval")
    return DataTable(columns, lines, frozenset({len(lines) - 1}))


def _lowest(scored: pl.DataFrame) -> RowList:
    lines = scored.sort("score", "row_id").head(LOWEST).select("row_id", "score", "keep")
    items = tuple(
        Item(
            (RowPart(row_id, "Row"),),
            similarity(score, fixed=True),
            ("kept" if keep else "dropped",),
        )
        for row_id, score, keep in lines.iter_rows()
    )
    return RowList(items, open=2)


def _words(name: str) -> str:
    return name.replace("_", " ")
