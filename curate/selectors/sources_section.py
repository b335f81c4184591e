"""Groups of rows in the report: how near each is to the target, its trial, whether it is kept."""

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from curate.core.numerals import counted, measure, number, signed
from curate.core.runrecord import RunTables, SelectionRecord
from curate.core.score_section import score_section
from curate.core.section import (
    Block,
    Cell,
    Code,
    DataTable,
    Heading,
    Paragraph,
    Section,
    Tag,
    note,
    paragraph,
)

TABLE, NEARNESS = "evidence/scores-groups", "evidence/sources"
MEASURES = {"embedding": "Cosine of means", "ngrams": "Divergence of words", "mmd": "MMD"}
MOST_GROUPS = 60


def sources_section(record: SelectionRecord) -> Section:
    """Return the groups of a selection by sources, then the scores of the method within."""
    section = score_section(record)
    if not record.run.has(TABLE):
        return section
    groups = record.run.table(TABLE).collect()
    return replace(section, blocks=(*group_blocks(groups), *section.blocks))


def group_blocks(groups: pl.DataFrame) -> list[Block]:
    """Return a table of groups in their order, the kept ones marked."""
    listed = groups.head(MOST_GROUPS)
    tried = groups["effect"].count() > 0
    columns = dict(_columns(listed, tried=tried))
    lines = tuple(zip(*columns.values(), strict=True))
    kept = frozenset(listed["kept"].arg_true().to_list())
    blocks: list[Block] = [Heading("Groups", number(groups.height)), _words(groups, tried=tried)]
    blocks.append(DataTable(tuple(columns), lines, kept))
    if listed.height < groups.height:
        blocks.append(note(f"The first {MOST_GROUPS} of {number(groups.height)} groups."))
    return blocks


def _columns(groups: pl.DataFrame, *, tried: bool) -> Iterator[tuple[str, list[Cell]]]:
    """Yield the titles and cells of the table."""
    yield "Group", groups["group"].to_list()
    yield "#Rows", [number(rows) for rows in groups["rows"]]
    yield "#Tokens", [number(tokens) for tokens in groups["tokens"]]
    for name in MEASURES:
        if name in groups.columns:
            yield f"#{MEASURES[name]}", [measure(value) for value in groups[name]]
            yield f"#Rank by {name}", [number(rank) for rank in groups[f"{name}_rank"]]
    if tried:
        yield "#Effect of a trial", [signed(effect) for effect in groups["effect"]]
        intervals = groups.select("low", "high").iter_rows()
        yield (
            "#95 %",
            ["–" if low is None else f"{signed(low)} to {signed(high)}" for low, high in intervals],
        )
        yield "Class", groups["kind"].fill_null("not tried").to_list()
    yield "Choice", [Tag("kept") if kept else "" for kept in groups["kept"]]


def _words(groups: pl.DataFrame, *, tried: bool) -> Paragraph:
    kept = groups.filter("kept")
    words = (
        f"Rows come from {counted(kept.height, 'group')} of {number(groups.height)}, with "
        f"{counted(int(kept['rows'].sum()), 'row')}. Rank 1 is the nearest to the target by a measure."
    )
    if tried:
        words += (
            " A trial learns rows of one group, after a warm-up on rows of all; its effect is by how "
            "much that lowers the loss of the target examples, in nats a token of the response. "
            "Helpful and harmful are those whose interval holds no 0."
        )
    return paragraph(words)


def nearness_blocks(run: RunTables) -> Iterator[Block]:
    """Yield how near each source of a pool is to the target; nothing where a run has not stored it."""
    if not run.has(NEARNESS):
        return
    groups = run.table(NEARNESS).sort("embedding_rank", "group").collect()
    listed = groups.head(MOST_GROUPS)
    yield Heading("Sources by how near they are to the target", number(groups.height))
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (name, number(rows), measure(cosine))
        for name, rows, cosine in listed.select("group", "rows", "embedding").iter_rows()
    )
    yield DataTable(("Source", "#Kept rows", f"#{MEASURES['embedding']}"), lines)
    rest = groups.height - listed.height
    yield note(
        "The cosine of the mean embedding of a source's kept rows with that of the target examples. It "
        "guesses what a source is good for, which ",
        Code("{method: sources, trial: {top: 6}}"),
        " tries." + (f" {number(rest)} more are farther." if rest else ""),
    )
