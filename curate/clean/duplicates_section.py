"""The section of a stage of deduplication: what was merged, its border, what another limit would do."""

from collections.abc import Iterator
from dataclasses import dataclass

from curate.clean.duplicate_figures import (
    Cluster,
    Conflict,
    Conflicts,
    Contradictions,
    ContrastingPairs,
    DuplicateFigures,
    DuplicatePair,
    ThresholdCurve,
    border_pairs,
    conflicts_of,
    contradictions_of,
    duplicate_figures,
    find_contrasting,
    threshold_curve,
)
from curate.clean.duplicates import FirstSource, HighestScore, Policy
from curate.clean.guards import GuardedDedupParams, guard_label
from curate.core.chart import CurveChart
from curate.core.numerals import counted, number, percent, similarity
from curate.core.runrecord import StageRecord
from curate.core.section import (
    Block,
    Code,
    Columns,
    DataTable,
    Details,
    Figure,
    Heading,
    Highlight,
    Inline,
    Item,
    LimitLine,
    Paragraph,
    Quote,
    RowList,
    RowPart,
    Section,
    note,
    paragraph,
)
from curate.text.compared import Compared

COMPARED = {"example": "whole rows", "prompt": "prompts", "response": "responses"}
CLUSTER_CHARS = 350


@dataclass(frozen=True)
class ComparedTexts:
    """How a stage compares rows, in words: which texts, by what, and who survives.

    floor: similarity from which pairs are stored, None where rows must be equal.
    rows: how many rows are to be kept, where the limit follows from that.
    other_numbers: whether rows with other numbers are compared.
    """

    compare: Compared
    by: tuple[Inline, ...]
    keep: Policy
    floor: float | None = None
    rows: int | None = None
    other_numbers: bool = True

    @property
    def words(self) -> tuple[Inline, ...]:
        """Return what is compared, and by what."""
        return (COMPARED[self.compare], *self.by)


def compared_by(stage: GuardedDedupParams, by: tuple[Inline, ...]) -> ComparedTexts:
    """Return how a stage compares rows by their similarity, given by what."""
    numbers = " with the same numbers" if stage.numbers else ""
    return ComparedTexts(
        stage.compare, (f"{numbers}, by ", *by), stage.keep, stage.floor, stage.rows
    )


def duplicates_section(record: StageRecord, texts: ComparedTexts) -> Section:
    """Return what a stage of deduplication says of its run."""
    figures = duplicate_figures(record)
    blocks: list[Block] = [
        _summary(figures, texts),
        note("A cluster is a row that was kept and the rows that were dropped for it."),
    ]
    if texts.floor is not None and record.has("pairs"):
        curve = threshold_curve(record) if texts.floor < 1 else None
        if curve:
            blocks.append(_curve(record.name, figures, curve))
        blocks += _border(border_pairs(record), figures, texts)
    if figures.largest:
        blocks += [Heading("Largest clusters"), *(_cluster(one, texts) for one in figures.largest)]
    contrasting, conflicts = find_contrasting(record), conflicts_of(record)
    if contrasting:
        blocks += _contrasting(contrasting, figures.limit, texts)
    if conflicts:
        blocks += _conflicts(conflicts)
    if contradictions := contradictions_of(record):
        blocks += _contradictions(contradictions)
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def survivor(keep: Policy) -> tuple[Inline, ...]:
    """Return which of similar rows a policy keeps."""
    if isinstance(keep, FirstSource):
        return ("by source: ", Quote(", ".join(keep.sources)), ", others")
    if isinstance(keep, HighestScore):
        return ("the highest ", Code(keep.highest))
    return (f"the {keep}",)


def _summary(figures: DuplicateFigures, texts: ComparedTexts) -> DataTable:
    limit = "equal"
    if texts.floor is not None:
        limit = f"similarity {similarity(figures.limit)}"
        limit += f", to keep {number(texts.rows)} rows" if texts.rows else ""
    columns = (
        "What was compared", "Limit", "Who survives", "#Dropped", "#Of its rows", "#Clusters",
        "#Largest",
    )  # fmt: skip
    largest = counted(figures.largest[0].size, "row") if figures.largest else "–"
    line = (
        texts.words, limit, survivor(texts.keep), number(figures.dropped),
        percent(figures.dropped / (figures.read or 1)), number(figures.clusters), largest,
    )  # fmt: skip
    return DataTable(columns, (line,))


def curve_chart(figures: DuplicateFigures, curve: ThresholdCurve) -> CurveChart:
    """Return the chart of how many rows each threshold drops, and where the run's lies."""
    points = tuple((at, float(n)) for at, n in zip(curve.thresholds, curve.dropped, strict=True))
    own_label = f"{number(figures.dropped)} at {similarity(figures.limit)}"
    some = points[:: max(len(points) // 4, 1)]
    described = "; ".join(f"{number(dropped)} at {similarity(at)}" for at, dropped in some)
    words = f"Rows dropped by threshold: {described}; this run {own_label}."
    own = figures.limit, float(figures.dropped)
    return CurveChart(points, own, own_label, "threshold", "rows dropped", words)


def _curve(stage: str, figures: DuplicateFigures, curve: ThresholdCurve) -> Columns:
    """Return how many rows each threshold would drop, drawn and as a table."""
    near = similarity(curve.near(figures.limit))
    command = f"curate rethreshold RUN {stage} --set threshold={near}"
    caption = paragraph("How many rows each threshold would drop. To see which: ", Code(command))
    table_points = points_with_own(curve, figures)
    lines = tuple(_curve_line(at, dropped, figures) for at, dropped in table_points)
    chosen = frozenset(i for i, (at, _) in enumerate(table_points) if at == figures.limit)
    columns = ("Threshold", "#Rows dropped", "#Against this run")
    return Columns(
        ((Figure(curve_chart(figures, curve), caption),), (DataTable(columns, lines, chosen),))
    )


def points_with_own(curve: ThresholdCurve, figures: DuplicateFigures) -> list[tuple[float, int]]:
    """Return points of the curve, and in their order what the run did."""
    others = [point for point in curve.table_points if point[0] != figures.limit]
    return sorted([*others, (figures.limit, figures.dropped)])


def _curve_line(
    at: float, dropped: int, figures: DuplicateFigures
) -> tuple[Inline, Inline, Inline]:
    more = dropped - figures.dropped
    against = f"{'+' if more > 0 else ''}{number(more)}" if more else "–"
    own = ", this run" if at == figures.limit else ""
    return (f"{similarity(at)}{own}", number(dropped), against)


def _border(
    pairs: tuple[DuplicatePair, ...], figures: DuplicateFigures, texts: ComparedTexts
) -> Iterator[Block]:
    only = "" if texts.compare == "example" else f"Only the {texts.compare}s were compared. "
    left = f", where {number(texts.rows)} rows are left" if texts.rows else ""
    above, below = (
        tuple(_border_item(pair) for pair in pairs if pair.kept == kept) for kept in (False, True)
    )
    floor = similarity(texts.floor)
    none_below = (
        f"No two rows that were kept are as similar as {floor}, from where on pairs are stored."
    )
    yield Heading("At the border")
    yield paragraph(
        "The least similar rows that were dropped, and below the line the most similar that were not, "
        f"each beside the kept row that it is closest to. {only}What differs is ", Highlight("marked"),
        ". The limit is right if the pairs above the line say the same and those below it do not.",
    )  # fmt: skip
    items: tuple[Item | LimitLine | Paragraph, ...] = (
        *(above or (paragraph("No row was dropped."),)),
        LimitLine(f"limit {similarity(figures.limit)}{left}"),
        *(below or (paragraph(none_below),)),
    )
    yield RowList(items, open=len(items))


def _border_item(pair: DuplicatePair) -> Item:
    title = "Kept row" if pair.kept else "Dropped row"
    parts = (
        RowPart(pair.row_id, title, against=pair.nearest_id),
        RowPart(pair.nearest_id, "Kept row", against=pair.row_id),
    )
    return Item(
        parts, similarity(pair.similarity, fixed=True), ("both kept" if pair.kept else "dropped",)
    )


def _cluster(cluster: Cluster, texts: ComparedTexts) -> Details:
    left = cluster.size - 1 - len(cluster.duplicates)
    dropped: list[Block] = [
        RowPart(
            pair.row_id,
            f"Dropped, similarity {similarity(pair.similarity)}",
            against=cluster.survivor_id,
            chars=CLUSTER_CHARS,
        )
        for pair in cluster.duplicates
    ]
    if left:
        alike = "" if texts.floor is None else ", at least as similar"
        dropped.append(note(f"and {counted(left, 'more row')}{alike}"))
    survivor_row = RowPart(cluster.survivor_id, "Kept row", against=cluster.survivor_id)
    columns = Columns(((survivor_row,), tuple(dropped)))
    return Details(counted(cluster.size, "row"), (columns,), RowPart(cluster.survivor_id, ""))


def _contrasting(
    contrasting: ContrastingPairs, limit: float, texts: ComparedTexts
) -> Iterator[Block]:
    are, were = ("is", "was") if contrasting.rows == 1 else ("are", "were")
    by_guard = ", ".join(
        f"{counted(pairs, 'pair')} {'differs' if pairs == 1 else 'differ'} in the {guard_label(guard)}"
        for guard, pairs in contrasting.counts.items()
    )
    numbers = "" if texts.other_numbers else " Rows with other numbers were not compared."
    items = tuple(
        Item(
            (
                RowPart(pair.row_id, "Kept row", pair.other_id, chars=CLUSTER_CHARS),
                RowPart(pair.other_id, "Kept row", pair.row_id, chars=CLUSTER_CHARS),
            ),
            similarity(pair.similarity, fixed=True),
            (f"other {guard_label(pair.differs)}",),
        )
        for pair in contrasting.examples
    )
    yield Heading("Near prompts with different answers")
    yield paragraph(
        f"{counted(contrasting.rows, 'row')} {are} as similar to another kept row as "
        f"{similarity(limit)} or more, and {were} kept: {by_guard}.{numbers}"
    )
    summary = f"{len(items)} of the most similar pairs"
    yield Details(summary, (RowList(items, open=len(items)),))


def _conflicts(conflicts: Conflicts) -> Iterator[Block]:
    repeat = "repeats" if conflicts.prompts == 1 else "repeat"
    most = ""
    if conflicts.prompts > len(conflicts.largest):
        most = f". These {len(conflicts.largest)} have the most answers"
    yield Heading("One prompt, several answers")
    yield paragraph(
        f"{counted(conflicts.prompts, 'prompt')} {repeat} with different answers, in "
        f"{number(conflicts.rows)} rows, all of which this stage kept{most}."
    )
    yield RowList(tuple(map(_conflict, conflicts.largest)))


def _conflict(conflict: Conflict) -> Item:
    first, *_ = conflict.row_ids
    answers = [RowPart(row_id, "Answer", only="response") for row_id in conflict.row_ids]
    left = conflict.answers - len(answers)
    more = f", of which {len(answers)} stand here" if left > 0 else ""
    facts = (f"{counted(conflict.answers, 'answer')}{more}",)
    return Item((RowPart(first, "Prompt", only="prompt"), *answers), "", facts)


def _contradictions(contradictions: Contradictions) -> Iterator[Block]:
    opposed, undecided = contradictions.opposed, contradictions.undecided
    sentences = []
    if opposed:
        twice = "One prompt has two pairs that prefer" if opposed == 1 else (
            f"{number(opposed)} times two pairs of one prompt prefer"
        )  # fmt: skip
        sentences.append(f"{twice} opposite answers: what one chooses the other rejects.")
    if undecided:
        reject = "pair rejects" if undecided == 1 else "pairs reject"
        sentences.append(f"{number(undecided)} {reject} the same answer as it chooses.")
    yield Heading("Preferences that contradict each other")
    yield paragraph(" ".join(sentences), " This stage kept all of them.")
    items = tuple(_contradiction(*ids) for ids in contradictions.examples)
    if items:
        yield RowList(items, open=len(items))


def _contradiction(row_id: str, other_id: str) -> Item:
    return Item(
        (
            RowPart(row_id, "Prompt", only="prompt"),
            RowPart(row_id, "One pair chooses", only="response"),
            RowPart(other_id, "The other one chooses", only="response"),
        )
    )
