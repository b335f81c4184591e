"""The rows that the sections of a page show: read once for all of them, cut, differences marked."""

from collections.abc import Sequence

from curate.core.escape import shorten
from curate.core.section import RowPart, Section, row_parts
from curate.report.differences import VIEW_CHARS, Side, show_sides
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.runs.folder import RunFolder

PROMPT_CHARS = 180


def read_page_rows(run: RunFolder, sections: Sequence[Section]) -> Rows:
    """Return place and content of every row that the sections show, or compare one with."""
    ids = {part.row_id for part in row_parts(sections)}
    return read_rows(run, ids | {part.against for part in row_parts(sections) if part.against})


def view_row(part: RowPart, rows: Rows) -> RowView | Side:
    """Return a row as the page shows it: on its own, or beside the one that it is compared with."""
    if part.against is None:
        return show_example(part.row_id, rows, {}, part.shared)
    sides = show_sides(
        part.row_id, part.against, rows, part.chars or VIEW_CHARS, expect_alike=part.alike
    )
    return sides[0]


def prompt_line(part: RowPart, rows: Rows) -> str | None:
    """Return the first user turn of a row in one line, cut in its midst; None if its text is nowhere."""
    if part.row_id not in rows:
        return None
    _, row = rows[part.row_id]
    prompt = next((m["content"] for m in row["messages"] if m["role"] == "user"), "")
    return shorten(prompt, PROMPT_CHARS)
