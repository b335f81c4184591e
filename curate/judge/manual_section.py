"""Marks by hand in the report: how many rows they kept, dropped and corrected, with what was noted."""

import polars as pl

from curate.core.numerals import counted, number
from curate.core.runrecord import StageRecord
from curate.core.section import (
    Block,
    DataTable,
    Heading,
    Item,
    Quiet,
    Quote,
    RowId,
    RowList,
    Section,
    paragraph,
)
from curate.judge.section_parts import replacement_parts

MOST = 12
MARKED = {"keep": "kept", "drop": "dropped", "correct": "corrected"}


def manual_section(record: StageRecord) -> Section | None:
    """Return the counts of marks, the rows with notes, and corrections beside the old rows."""
    if not record.has("marks"):
        return None
    marks = record.table("marks").collect()
    counts = dict(marks.group_by("mark").len().iter_rows())
    lines = [(word, number(counts[kind])) for kind, word in MARKED.items() if kind in counts]
    blocks: list[Block] = [_lead(marks, counts)]
    if lines:
        blocks.append(DataTable(("Marked by hand", "#Rows"), tuple(lines)))
    blocks += [*_corrections(marks), *_notes(marks)]
    return Section(record.anchor, record.label, tuple(blocks), record.name)


def _lead(marks: pl.DataFrame, counts: dict[str, int]) -> Block:
    if not marks.height:
        return paragraph("No row is marked by hand.")
    pinned = marks.filter("pinned").height
    kept = (
        f" No later stage dropped {counted(pinned, 'row')} of them, save those that keep out what no "
        "training may read."
        if pinned
        else ""
    )
    new = " A corrected row is a new one, which later stages judge." if "correct" in counts else ""
    return paragraph(f"{counted(marks.height, 'row is', 'rows are')} marked by hand.{kept}{new}")


def _corrections(marks: pl.DataFrame) -> list[Block]:
    lines = marks.filter(mark="correct").select("row_id", "made_id", "note")
    if not lines.height:
        return []
    items = tuple(
        Item(replacement_parts(row_id, new_id, "Correction"), "", (Quote(note),) if note else ())
        for row_id, new_id, note in lines.head(MOST).iter_rows()
    )
    first = f"first {MOST} of {number(lines.height)}" if lines.height > MOST else ""
    return [Heading("Corrections", first), RowList(items, open=4)]


def _notes(marks: pl.DataFrame) -> list[Block]:
    noted = marks.filter(pl.col("note").is_not_null() & (pl.col("mark") != "correct"))
    if not noted.height:
        return []
    lines = tuple(
        (RowId(row_id), MARKED[mark], Quote(note), Quiet((at or "")[:10]))
        for row_id, mark, note, at in noted.head(MOST)
        .select("row_id", "mark", "note", "at")
        .iter_rows()
    )
    first = f"first {MOST} of {number(noted.height)}" if noted.height > MOST else ""
    return [
        Heading("Notes", first),
        DataTable(("Row", "Marked", "Note", "On"), lines, style="texts"),
    ]
