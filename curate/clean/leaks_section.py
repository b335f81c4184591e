"""The section of the check for leaks: what the pool holds of each eval set, what only resembles it.

Older runs lack some of the tables; whatever is missing is left out.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl

from curate.core.numerals import number, percent, similarity
from curate.core.runrecord import StageRecord
from curate.core.section import (
    Alarm,
    Block,
    Cell,
    DataTable,
    Details,
    Heading,
    Highlight,
    Item,
    Link,
    Paragraph,
    Quote,
    RowList,
    RowPart,
    Section,
    Tag,
    note,
    paragraph,
)

MOST_PAIRS = 10
# Tulu 3 calls a training set contaminated that leaks a larger share (arXiv:2411.15124, section 3.2).
CONTAMINATED = 0.02
SET_COLUMNS = ("source", "examples", "leaked", "share", "rows")


@dataclass(frozen=True)
class EvalSet:
    """An eval set; `warned` counts rows that only resemble an example, None if none were looked for."""

    source: str
    examples: int
    leaked: int
    share: float
    rows: int
    warned: int | None

    @property
    def contaminated(self) -> bool:
        """Return whether more of it leaks than Tulu 3 would let pass."""
        return self.share > CONTAMINATED


def leaks_section(record: StageRecord, warn: float | None) -> Section:
    """Return what a check for leaks says of its run.

    Args:
        record: the stage in its run.
        warn: the cosine from which rows that resemble an eval example are listed.
    """
    sets = eval_sets(record)
    blocks: tuple[Block, ...] = (
        *_target_leaks(leaked_targets(record)),
        _dropped(record),
        *_sets(sets),
        *_warnings(warned_rows(record), warn),
    )
    return Section(record.anchor, record.label, blocks, record.name)


def eval_sets(record: StageRecord) -> tuple[EvalSet, ...]:
    """Return the eval sets with what leaked of each."""
    if not record.has("sets") or not {*SET_COLUMNS} <= {*record.table("sets").collect_schema()}:
        return ()
    lines = record.table("sets").collect().to_dicts()
    return tuple(
        EvalSet(**{column: line[column] for column in SET_COLUMNS}, warned=line.get("warned"))
        for line in lines
    )


def warned_rows(record: StageRecord) -> pl.DataFrame:
    """Return the kept rows that mean much the same as an eval example: row_id, eval_id, similarity."""
    return _best_pairs(record, "warnings", "similarity")


def leaked_targets(record: StageRecord) -> pl.DataFrame:
    """Return the target examples that hold an eval prompt: row_id, eval_id, coverage, span."""
    return _best_pairs(record, "target", "coverage")


def _best_pairs(record: StageRecord, table: str, value: str) -> pl.DataFrame:
    """Return the pair with the highest value of each row, highest first; none without the table."""
    if not record.has(table) or value not in record.table(table).collect_schema():
        return pl.DataFrame(schema={"row_id": pl.String, "eval_id": pl.String})
    ordered = record.table(table).sort(value, "row_id", "eval_id", descending=[True, False, False])
    return ordered.unique("row_id", keep="first", maintain_order=True).collect()


def _target_leaks(leaks: pl.DataFrame) -> Iterator[Block]:
    if not leaks.height:
        return
    hold = "target example holds" if leaks.height == 1 else "target examples hold"
    advice = paragraph(
        "Rows are selected for their likeness to the target examples, so the selection leans towards "
        "what the eval set asks. Replace these examples."
    )
    most = leaks.head(MOST_PAIRS).to_dicts()
    items = tuple(
        Item(
            (
                RowPart(line["row_id"], "Target example", shared=line.get("span")),
                RowPart(line["eval_id"], "Eval example", shared=line.get("span")),
            ),
            facts=(f"{percent(line['coverage'])} of the eval prompt",),
        )
        for line in most
    )
    which = f"the {len(most)} that hold most" if leaks.height > len(most) else "them"
    summary = "Show it" if leaks.height == 1 else f"Show {which}"
    details = Details(summary, (RowList(items, open=len(items)),))
    yield Alarm(f"{number(leaks.height)} {hold} an eval prompt.", (advice, details))


def _dropped(record: StageRecord) -> Paragraph:
    facts = record.evidence().select(read=pl.len(), dropped=(~pl.col("keep")).sum())
    read, dropped = facts.collect().row(0)
    if not dropped:
        return paragraph(f"None of {number(read)} rows held an eval prompt.")
    were, some = ("was", "it is") if dropped == 1 else ("were", "some are")
    return paragraph(
        f"{number(dropped)} of {number(read)} rows held an eval prompt and {were} dropped; {some} shown "
        "under ",
        Link("Dropped rows", "dropped"),
        ".",
    )


def _sets(sets: tuple[EvalSet, ...]) -> Iterator[Block]:
    if not sets:
        return
    warned = any(one.warned is not None for one in sets)
    columns = ("Eval set", "#Examples", "#Leaked", "#Share", "#Rows dropped")
    lines: list[tuple[Cell, ...]] = []
    for one in sets:
        share: Cell = percent(one.share)
        if one.contaminated:
            share = (Tag("contaminated"), f" {percent(one.share)}")
        counts = (number(one.examples), number(one.leaked), share, number(one.rows))
        lines.append((Quote(one.source), *counts, *((number(one.warned),) if warned else ())))
    yield DataTable((*columns, *(("#Rows like it",) if warned else ())), tuple(lines))
    contaminated = (
        " Contaminated, as Tülu 3 has it, is a set of which more than 2 % leak (arXiv:2411.15124)."
    )
    yield note(
        "Leaked are the examples whose prompt some row of the pool holds; these rows were dropped."
        + (contaminated if any(one.contaminated for one in sets) else "")
    )


def _warnings(rows: pl.DataFrame, warn: float | None) -> Iterator[Block]:
    if not rows.height:
        return
    are, their, them = (
        ("row is", "its", "it") if rows.height == 1 else ("rows are", "their", "them")
    )
    most = rows.head(MOST_PAIRS)
    which = f"; these {most.height} are the most similar" if rows.height > most.height else ""
    yield Heading("Rows that resemble an eval example")
    yield paragraph(
        f"{number(rows.height)} {are} no leak by {their} words, and yet {similarity(warn)} or more "
        f"similar to an eval prompt by embedding. This stage kept {them}{which}. What differs is ",
        Highlight("marked"),
        ".",
    )
    pairs = most.select("row_id", "eval_id", "similarity").iter_rows()
    yield RowList(tuple(_warning(*pair) for pair in pairs))


def _warning(row_id: str, eval_id: str, cosine: float) -> Item:
    parts = (
        RowPart(row_id, "Pool row", against=eval_id, alike=False),
        RowPart(eval_id, "Eval example", against=row_id, alike=False),
    )
    return Item(parts, similarity(cosine, fixed=True), ("similarity",))
