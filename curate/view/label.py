"""Labelling: one row at a time, right or wrong, those first whose labels say most."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.params import Params
from curate.core.rows import Message, turn_text
from curate.runs.folder import RunFolder
from curate.runs.label_progress import label_progress
from curate.runs.labels import (
    QueuedRow,
    extend_queue,
    labels_path,
    read_queue,
    save_label,
    saved_labels,
    skip_rows,
)
from curate.view.changes import change_route
from curate.view.context import ViewContext
from curate.view.marks import MOST_ID, find_row

COUNT, MOST_COUNT = 50, 1_000
TURN_CHARS = 20_000


class LabelRequest(Params):
    """Whether the response of a row is right; null skips the row."""

    row_id: str = Field(min_length=1, max_length=MOST_ID)
    correct: bool | None


class DrawRequest(Params):
    """How many further rows to draw."""

    count: int = Field(COUNT, ge=1, le=MOST_COUNT)


class UndoRequest(Params):
    """The last label is taken back, or all rows that were skipped are asked about again."""

    skipped: bool = False


@dataclass(frozen=True)
class LabelTurn:
    """A turn of the row that is labelled; `cut` characters of it are left out."""

    role: str
    text: str
    cut: int


def routes(context: ViewContext) -> list[Route]:
    """Return the addresses of the page."""
    run = context.run
    return [
        Route("/label", partial(label_page, context=context)),
        change_route("/label/set", LabelRequest, partial(set_label, run)),
        change_route("/label/draw", DrawRequest, partial(draw_rows, run)),
        change_route("/label/undo", UndoRequest, partial(undo_label, run)),
    ]


def label_page(request: Request, context: ViewContext) -> Response:
    """Return the next row to label, with what the labels say so far."""
    run = context.run
    queue, labelled = read_queue(run), set(saved_labels(run)["row_id"])
    waiting = [row for row in queue if row.row_id not in labelled and not row.skipped]
    messages = find_row(context, waiting[0].row_id)[1] if waiting else []
    return context.render(
        request,
        "label.html.j2",
        row=waiting[0] if waiting else None,
        turns=label_turns(messages),
        queued=len(queue),
        done=len(queue) - len(waiting),
        skipped=sum(row.skipped for row in queue),
        undoable=any(row.row_id in labelled for row in queue),
        progress=label_progress(run),
        path_of_labels=labels_path(run),
        count=COUNT,
        most=MOST_COUNT,
    )


def label_turns(messages: Sequence[Message]) -> list[LabelTurn]:
    """Return what a page shows of a row's turns: the start of very long ones."""
    texts = [(message["role"], turn_text(message)) for message in messages]
    return [
        LabelTurn(role, text[:TURN_CHARS], max(len(text) - TURN_CHARS, 0)) for role, text in texts
    ]


# --- changes --------------------------------------------------------------------------------------


def set_label(run: RunFolder, change: LabelRequest) -> dict[str, JSON]:
    """Label a row of the queue, or skip it.

    Raises:
        UserError: it is not in the queue.
    """
    if change.correct is None:
        skip_rows(run, [change.row_id], skipped=True)
    else:
        save_label(run, change.row_id, correct=change.correct)
    return {"row_id": change.row_id}


def draw_rows(run: RunFolder, change: DrawRequest) -> dict[str, JSON]:
    """Draw further rows to label.

    Raises:
        UserError: every row has a label.
    """
    return {"queued": len(extend_queue(run, change.count))}


def undo_label(run: RunFolder, change: UndoRequest) -> dict[str, JSON]:
    """Take the last label back, or ask about skipped rows again.

    Raises:
        UserError: there is no label.
    """
    queue = read_queue(run)
    if change.skipped:
        skip_rows(run, [row.row_id for row in queue if row.skipped], skipped=False)
        return {}
    last = last_label(run, queue)
    if last is None:
        raise UserError("no row of this queue has a label")
    save_label(run, last, correct=None)
    return {"row_id": last}


def last_label(run: RunFolder, queue: Sequence[QueuedRow]) -> str | None:
    """Return the row of a queue that was labelled last."""
    queued = {row.row_id for row in queue}
    labelled = [row_id for row_id in saved_labels(run)["row_id"] if row_id in queued]
    return labelled[-1] if labelled else None
