"""Corrections in the report: what became of the doubted rows, and old and new response side by side."""

import polars as pl

from curate.core.numerals import counted, number, similarity
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import (
    Block,
    Columns,
    DataTable,
    Heading,
    Item,
    Paragraph,
    RowList,
    Section,
    paragraph,
)
from curate.judge.section_parts import replacement_parts

SUREST = 12


def correct_section(record: StageRecord, confidence: float, otherwise: str) -> Section | None:
    """Return the decisions on doubted rows, and the surest corrections.

    Args:
        record: the stage in its run.
        confidence: how sure the judge must be that a new response is better.
        otherwise: what becomes of doubted rows without a better one, drop or keep.
    """
    if not record.has("corrections"):
        return scored_section(record)
    corrections = record.table("corrections").collect()
    counts = (
        corrections.group_by("decision").len().sort("len", "decision", descending=[True, False])
    )
    # A row that is pinned by hand is not replaced.
    dropped = record.evidence().filter(~pl.col("keep")).select("row_id").collect()
    replaced = corrections.filter(pl.col("made_id").is_not_null())
    replaced = replaced.join(dropped, on="row_id", how="semi", maintain_order="left")
    lead = _lead(corrections.height, replaced.height, confidence, otherwise)
    lines = tuple((decision, number(count)) for decision, count in counts.iter_rows())
    blocks: list[Block] = [lead]
    if lines:
        blocks = [Columns(((lead,), (DataTable(("Decision", "#Rows"), lines),)))]
    if replaced.height:
        blocks.append(Heading("Corrections"))
        if replaced.height > SUREST:
            total = number(replaced.height)
            blocks.append(paragraph(f"The {SUREST} surest of {total}."))
        blocks.append(_surest(replaced))
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _lead(doubted: int, replaced: int, confidence: float, otherwise: str) -> Paragraph:
    if not doubted:
        return paragraph("No row was doubted.")
    were = "was" if replaced == 1 else "were"
    others = "were dropped" if otherwise == "drop" else "stayed"
    return paragraph(
        f"{number(replaced)} of {counted(doubted, 'doubted row')} {were} replaced by a new row, whose "
        f"response was judged better in both orders with a confidence above {similarity(confidence)}. "
        f"The others {others}."
    )


def _surest(replaced: pl.DataFrame) -> RowList:
    order = replaced.sort("confidence", "row_id", descending=[True, False]).head(SUREST)
    lines = order.select("row_id", "made_id", "confidence", "confidence_old").iter_rows()
    items = tuple(
        Item(
            replacement_parts(row_id, new_id, "Correction"),
            similarity(confidence, fixed=True),
            ("new is better", f"old was {similarity(before, fixed=True)}"),
        )
        for row_id, new_id, confidence, before in lines
    )
    return RowList(items, open=4)
