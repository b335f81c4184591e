"""A selector's section of the report: its scores, and the selected rows near each target example."""

import math
from dataclasses import dataclass

import polars as pl

from curate.core.chart import CountBars, SplitHistogram
from curate.core.numerals import counted, measure, number, significant
from curate.core.runrecord import SelectionRecord
from curate.core.section import (
    Block,
    Cell,
    Columns,
    DataTable,
    Details,
    Figure,
    Inline,
    RowId,
    RowPart,
    Section,
    note,
    paragraph,
)

ANCHOR = "scores"
BINS = 32
CHARTED = 25
MOST_TARGETS = 200


@dataclass(frozen=True)
class ScoreDistribution:
    """Bins (low, high, selected, not selected) of a method's scores.

    cut: the lowest selected score; passed_over: rows of a higher score that were not selected.
    """

    bins: tuple[tuple[float, float, int, int], ...]
    cut: float
    selected: int
    not_selected: int
    passed_over: int


def score_section(record: SelectionRecord) -> Section:
    """Return the distribution of a selection's scores, and what its target examples attract."""
    lead: list[Block] = [note(record.unscored)] if record.unscored else []
    scores = score_distribution(record.ranking())
    if scores is None:
        none = (
            f"The method is {record.label}: it gives no scores and looks at no target examples, so "
            "there is no distribution to show."
        )
        return Section(ANCHOR, "Scores", (*lead, paragraph(none)))
    attraction = target_attraction(record)
    columns: list[tuple[Block, ...]] = [(_histogram(scores, takes_turns=record.takes_turns),)]
    if attraction.height:
        columns.append((_bars(record, attraction),))
    table = [_table(attraction)] if attraction.height else []
    return Section(ANCHOR, "Scores", (*lead, Columns(tuple(columns)), *table))


def score_distribution(ranking: pl.LazyFrame) -> ScoreDistribution | None:
    """Return None for a ranking without scores (columns score, selected)."""
    score = pl.col("score").cast(pl.Float64)
    scored = ranking.filter(score.is_finite()).select("selected", score=score)
    facts = scored.select(
        low=pl.col("score").min(),
        high=pl.col("score").max(),
        cut=pl.col("score").filter("selected").min(),
        selected=pl.col("selected").sum(),
        count=pl.len(),
    )
    low, high, cut, selected, count = facts.collect().row(0)
    if cut is None:
        return None
    above = scored.filter(~pl.col("selected") & (pl.col("score") > cut)).select(pl.len())
    passed_over = int(above.collect().item())
    return ScoreDistribution(_bins(scored, low, high), cut, selected, count - selected, passed_over)


def _bins(
    scored: pl.LazyFrame, low: float, high: float
) -> tuple[tuple[float, float, int, int], ...]:
    step = _round_step((high - low) / BINS) if high > low else max(abs(low), 1.0) / BINS
    first = math.floor(low / step)
    place = (pl.col("score") / step).floor().cast(pl.Int64) - first
    counted_rows = scored.group_by(bin=place, selected="selected").len().collect()
    counts = {(at, selected): n for at, selected, n in counted_rows.iter_rows()}
    return tuple(
        ((first + i) * step, (first + i + 1) * step, counts.get((i, True), 0), counts.get((i, False), 0))
        for i in range(max(at for at, _ in counts) + 1)
    )  # fmt: skip


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= step)


def target_attraction(record: SelectionRecord) -> pl.DataFrame:
    """Return for each target example its selected rows and best similarities, fewest rows first.

    Columns: row_id, rows (selected ones that are most similar to it), best (its highest similarity to a
    selected row), best_in_pool (to any kept row). No line where the method names no nearest example.
    """
    nearest = (
        record.ranking()
        .filter(pl.col("nearest_id").is_not_null())
        .group_by(row_id="nearest_id")
        .agg(
            rows=pl.col("selected").sum().cast(pl.Int64),
            best=pl.col("score").filter("selected").max().cast(pl.Float64),
            best_in_pool=pl.col("score").max().cast(pl.Float64),
        )
        .collect()
    )
    target = record.run.rows("target")
    if not nearest.height or target is None:
        return _thinnest_first(nearest)
    ids = target.select("row_id").collect()
    lines = ids.join(nearest, on="row_id", how="left", maintain_order="left")
    return _thinnest_first(
        _with_similarities(record, lines.with_columns(pl.col("rows").fill_null(0)))
    )


def _thinnest_first(lines: pl.DataFrame) -> pl.DataFrame:
    return lines.sort("rows", pl.col("best").fill_null(-math.inf), "row_id")


def _with_similarities(record: SelectionRecord, lines: pl.DataFrame) -> pl.DataFrame:
    """Return the lines with the true best similarities, where the method stored all of them."""
    scores = record.scores()
    if "similarities" not in scores.collect_schema():
        return lines
    chosen = record.ranking().filter("selected").select("row_id")
    selected = scores.join(chosen, on="row_id", how="semi")
    return lines.with_columns(
        best=_column_maxima(selected, lines.height),
        best_in_pool=_column_maxima(scores, lines.height),
    )


def _column_maxima(table: pl.LazyFrame, width: int) -> pl.Series:
    column = pl.col("similarities")
    maxima = [column.arr.get(i).max().alias(str(i)) for i in range(width)]
    return pl.Series([float(value) for value in table.select(maxima).collect().row(0)])


def _histogram(scores: ScoreDistribution, *, takes_turns: bool) -> Figure:
    words = (
        f"Histogram of scores from {significant(scores.bins[0][0])} to "
        f"{significant(scores.bins[-1][1])}: "
        f"{number(scores.selected)} selected rows lie at {significant(scores.cut)} and above; "
        f"{number(scores.not_selected)} were not selected."
    )
    turns = "the target examples take turns (round robin), each naming its own best row"
    if scores.passed_over:
        also = f": {turns}, also where another example has better ones" if takes_turns else ""
        higher = f"{number(scores.passed_over)} rows scored higher and were not selected"
        rule = f"{higher}, so this is no threshold{also}."
    elif takes_turns:
        rule = f"This need not be a threshold: {turns}."
    else:
        rule = "No row above it was left out."
    chart = SplitHistogram(scores.bins, scores.cut, "score", words)
    caption = paragraph(f"Dashed: the lowest selected score, {measure(scores.cut)}. {rule}")
    return Figure(chart, caption, "All scores")


def _bars(record: SelectionRecord, attraction: pl.DataFrame) -> Figure:
    charted = attraction.head(CHARTED)
    lines = tuple(
        (row_id.rsplit("/", 1)[-1], rows, significant(best))
        for row_id, rows, best in charted.select("row_id", "rows", "best").iter_rows()
    )
    most = number(attraction["rows"].max())  # type: ignore[arg-type]
    words = (
        f"Selected rows nearest to each target example: from {number(lines[0][1])} for {lines[0][0]} to "
        f"{most}."
    )
    chart = CountBars(lines, "rows nearest to it", "best similarity", words)
    caption = paragraph(*_attraction_words(record, attraction))
    return Figure(chart, caption, "Rows nearest to each target example")


def _attraction_words(record: SelectionRecord, attraction: pl.DataFrame) -> list[Inline]:
    fewest = attraction["rows"][0]
    thin = (
        f"nearest to {counted(fewest, 'selected row')}"
        if fewest
        else "no selected row is nearest to it"
    )
    uncovered = attraction.filter(rows=0).height
    text = f", {thin}."
    if uncovered > 1:
        text += f" {number(uncovered)} examples have no such row."
    text += (
        " A row counts for the one example that it is most similar to, whichever example named it."
    )
    if record.run.rows("target") is None:
        lost = "one that is nearest to no row cannot be listed"
        text += f" The store has lost the target examples: {lost}."
    if attraction.height > CHARTED:
        text += f" The first {CHARTED} of {number(attraction.height)}."
    return ["By the scores of this method. Fewest: ", RowId(attraction["row_id"][0]), text]


def _table(attraction: pl.DataFrame) -> Details:
    examples = attraction.head(MOST_TARGETS)
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (RowId(row_id), number(rows), measure(best), measure(best_in_pool), RowPart(row_id, ""))
        for row_id, rows, best, best_in_pool in examples.iter_rows()
    )
    columns = (
        "Target example", "#Selected rows nearest", "#Best similarity, selected",
        "#Best similarity, all kept", "Text",
    )  # fmt: skip
    which = f"the first {examples.height} of" if attraction.height > examples.height else "all"
    summary = f"Table of {which} {number(attraction.height)} target examples, with their texts"
    return Details(summary, (DataTable(columns, lines, style="texts"),))
