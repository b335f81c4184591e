"""Marks by hand: set in the table of rows and on a row's page, listed and taken back on their own."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial

import polars as pl
from pydantic import Field
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.core.escape import shorten, visible
from curate.core.jsontypes import JSON
from curate.core.params import Params
from curate.core.preferences import rejected_hash
from curate.core.rows import Message, prompt_text, response_text
from curate.core.turntext import plain_messages
from curate.judge.marks import (
    NONE,
    Mark,
    MarkKey,
    MarkKind,
    mark_of,
    marks_of_rows,
)
from curate.report.differences import find_differences, view
from curate.runs.folder import RunFolder
from curate.runs.marks import marks_path, pending_marks, run_command, save_mark, saved_marks
from curate.view.changes import change_route
from curate.view.context import ViewContext

MOST_ID, MOST_NOTE, MOST_RESPONSE = 4_096, 2_000, 1_000_000
MOST_ROWS = 1_000
LISTED, EXCERPT, PREVIEW = 500, 160, 20_000


class MarkRequest(Params):
    """A mark that a page asks for."""

    row_id: str = Field(min_length=1, max_length=MOST_ID)
    mark: MarkKind
    response: str | None = Field(None, max_length=MOST_RESPONSE)
    note: str | None = Field(None, max_length=MOST_NOTE)


class RowsRequest(Params):
    """Rows whose marks a page wants to know."""

    rows: list[str] = Field(max_length=MOST_ROWS)


class RowRequest(Params):
    """A row that a page is about to mark."""

    row_id: str = Field(min_length=1, max_length=MOST_ID)


class PreviewRequest(Params):
    """A response that would take the place of a row's."""

    row_id: str = Field(min_length=1, max_length=MOST_ID)
    response: str = Field(max_length=MOST_RESPONSE)


class TextRequest(Params):
    """The text whose mark is taken back, of a pair with its rejected answer."""

    content_hash: str = Field(min_length=1, max_length=64)
    rejected: str | None = Field(None, max_length=64)


@dataclass(frozen=True)
class MarkLine:
    """A mark in the list: `rows` of this run have its text, `waits` where the run has not read it."""

    mark: Mark
    rows: int
    prompt: str
    waits: bool


def routes(context: ViewContext) -> list[Route]:
    """Return the addresses of the page, and of what other pages do with marks."""
    run = context.run
    return [
        Route("/marks", partial(marks_page, context=context)),
        Route("/marks/download", partial(download, run=run)),
        change_route("/marks/set", MarkRequest, partial(set_mark, context)),
        change_route("/marks/undo", TextRequest, partial(undo_mark, run)),
        change_route("/marks/of", RowsRequest, partial(marks_of, run)),
        change_route("/marks/row", RowRequest, partial(mark_of_row, context)),
        change_route("/marks/preview", PreviewRequest, partial(preview, context)),
    ]


def marks_page(request: Request, context: ViewContext) -> Response:
    """Return the list of marks, the last one first, with the command that makes a run of them."""
    run = context.run
    file, pending = saved_marks(run), pending_marks(run)
    marks = list(file.marks.values())[::-1]
    command = run_command(run) if pending else ""
    return context.render(
        request,
        "marks.html.j2",
        lines=mark_lines(run, marks[:LISTED], set(pending)),
        count=len(marks),
        waiting=len(pending),
        command=command,
        path_of_marks=marks_path(run),
        saved=marks_path(run).is_file(),
        torn=file.torn,
    )


def download(request: Request, run: RunFolder) -> Response:
    """Return the file of marks.

    Raises:
        UserError: there is none.
    """
    path = marks_path(run)
    if not path.is_file():
        raise UserError(f"{path} is not there: no row of this run is marked")
    return FileResponse(path, media_type="application/jsonl", filename=path.name)


def mark_lines(run: RunFolder, marks: Sequence[Mark], pending: set[MarkKey]) -> list[MarkLine]:
    """Return marks with what the run has of their rows."""
    rows = run.rows("pool")
    counts = Counter[MarkKey]()
    prompts: dict[MarkKey, str] = {}
    if rows is not None and marks:
        marks_by_row = marks_of_rows(rows, {mark.key: mark for mark in marks})
        counts.update(mark.key for mark in marks_by_row.values())
        first = {mark.key: row_id for row_id, mark in reversed(marks_by_row.items())}
        ids = pl.Series(list(first.values()), dtype=pl.String).implode()
        table = rows.filter(pl.col("row_id").is_in(ids)).select("row_id", "messages").collect()
        for row_id, turns in table.iter_rows():
            prompts[marks_by_row[row_id].key] = shorten(prompt_text(turns), EXCERPT)
    return [
        MarkLine(mark, counts[mark.key], prompts.get(mark.key, ""), mark.key in pending)
        for mark in marks
    ]


# --- changes --------------------------------------------------------------------------------------


def set_mark(context: ViewContext, change: MarkRequest) -> dict[str, JSON]:
    """Mark a row.

    Raises:
        UserError: the run has no such row, or the row cannot be corrected so.
    """
    text, messages, rejected = find_row(context, change.row_id)
    response = None
    if change.mark == "correct":
        response = change.response or ""
        check_correction(messages, response)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    note = (change.note or "").strip() or None
    if change.mark == NONE and (own := mark_of(saved_marks(context.run).marks, text, rejected)):
        # A mark of all rows of the text is taken back for all of them.
        rejected = own.rejected
    mark = Mark(change.row_id, text, change.mark, response, note, at, rejected)
    file = save_mark(context.run, mark)
    return {"row_id": change.row_id, "mark": change.mark, "count": len(file.marks)}


def undo_mark(run: RunFolder, change: TextRequest) -> dict[str, JSON]:
    """Take a mark back, also one of a row that this run has not.

    Raises:
        UserError: there is no such mark.
    """
    mark = saved_marks(run).marks.get((change.content_hash, change.rejected))
    if mark is None:
        raise UserError(f"no row with the text {change.content_hash} is marked")
    at = datetime.now(UTC).isoformat(timespec="seconds")
    file = save_mark(run, replace(mark, kind=NONE, response=None, note=None, at=at))
    return {"row_id": mark.row_id, "mark": NONE, "count": len(file.marks)}


def marks_of(run: RunFolder, change: RowsRequest) -> dict[str, JSON]:
    """Return the marks of some rows, by their ids; rows without one are left out."""
    rows, marks = run.rows("pool"), saved_marks(run).marks
    if rows is None or not marks:
        return {"rows": {}}
    ids = pl.Series(change.rows, dtype=pl.String).implode()
    marks_by_row = marks_of_rows(rows.filter(pl.col("row_id").is_in(ids)), marks)
    return {"rows": {row_id: mark.kind for row_id, mark in marks_by_row.items()}}


def mark_of_row(context: ViewContext, change: RowRequest) -> dict[str, JSON]:
    """Return the mark of a row with its note, the response that it has or gets, and why it gets none.

    Raises:
        UserError: the run has no such row.
    """
    text, messages, rejected = find_row(context, change.row_id)
    mark = mark_of(saved_marks(context.run).marks, text, rejected)
    return {
        "mark": mark.kind if mark else NONE,
        "note": (mark.note if mark else None) or "",
        "response": (mark.response if mark else None) or messages[-1]["content"],
        "fault": correction_fault(messages) or "",
    }


def preview(context: ViewContext, change: PreviewRequest) -> dict[str, JSON]:
    """Return the words in which a new response differs from a row's, as marked pieces of both.

    Raises:
        UserError: the run has no such row.
    """
    _, messages, _ = find_row(context, change.row_id)
    old = response_text(messages)
    differences = find_differences(old, change.response)
    # Texts that share hardly anything differ as a whole.
    wholes = ((0, len(old)),), ((0, len(change.response)),)
    spans = (differences.one, differences.other) if differences else wholes
    sides = {"old": (old, spans[0]), "new": (change.response, spans[1])}
    return {
        name: [[visible(part.text), part.marked] for part in view(text, marks, PREVIEW).segments]
        for name, (text, marks) in sides.items()
    }


def find_row(context: ViewContext, row_id: str) -> tuple[str, list[Message], str | None]:
    """Return content hash and turns of a row of the pool, and the hash of its rejected answer.

    Raises:
        UserError: there is none, or the store has lost the rows.
    """
    run = context.run
    rows, position = run.rows("pool"), context.rows.position(row_id)
    if position is None:
        raise UserError(f"{run.path} has no row {row_id!r}")
    if rows is None:
        raise UserError(f"{run.path}: the store has lost the rows; run `curate run` again")
    # A position is read faster than an id is found, if the pool is that of the ledger.
    rejected = "rejected" if "rejected" in rows.collect_schema() else pl.lit(None)
    columns = rows.select("row_id", "content_hash", "messages", rejected=rejected)
    row = columns.slice(position, 1).collect()
    if row["row_id"].to_list() != [row_id]:
        row = columns.filter(pl.col("row_id") == row_id).collect()
    if not row.height:
        raise UserError(f"{run.path}: the store has not the row {row_id!r}; run `curate run` again")
    _, text, messages, answer = row.row(0)
    return text, plain_messages(messages), rejected_hash(answer)


def check_correction(messages: Sequence[Message], response: str) -> None:
    """Fail where a response cannot take the place of a row's.

    Raises:
        UserError: it is empty or the same, or the row ends with a call of a tool.
    """
    if fault := correction_fault(messages):
        raise UserError(fault)
    if not response.strip():
        raise UserError("a corrected row needs a response; mark it drop to leave it out")
    if response == messages[-1]["content"]:
        raise UserError("the response is the one that the row has already")


def correction_fault(messages: Sequence[Message]) -> str | None:
    """Return why no text can take the place of a row's response, None if one can."""
    if messages[-1].get("tool_calls"):
        return "the row ends with a call of a tool, which a text cannot take the place of"
    return None
