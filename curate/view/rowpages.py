"""The pages of rows: the table with its filters and counts, and a row in full.

/row?id=bundled/chat.jsonl:57&rows=fate%3Ddropped       `rows` is the filter that led to the row
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.core.escape import shorten
from curate.runs.explain import explain_row
from curate.runs.rowquery import TEXTS
from curate.view import rejectpage
from curate.view.context import ViewContext
from curate.view.rowdetail import read_detail, read_example
from curate.view.rowdownload import download
from curate.view.rowfilter import RowFilter, quoted
from curate.view.rowmatches import FacetCount, RowMatcher, RowMatches
from curate.view.rowtexts import PendingTexts

LEDGER_COLUMNS = ("row_id", "fate", "stage", "reason", "score", "rank", "source", "origin")
EXCERPT_CHARS = 180
# Of a text so much is looked at for its excerpt.
READ_CHARS = 2_000


@dataclass(frozen=True)
class LedgerLine:
    """A row in the table; `further` are the columns of evidence that the address speaks of."""

    row_id: str
    fate: str
    stage: str
    reason: str
    score: float | None
    rank: int | None
    source: str
    origin: str | None
    further: list[object]
    prompt: str = ""
    response: str = ""


@dataclass(frozen=True)
class RowPage:
    """A page of the table, with the counts beside it.

    Attributes:
        lines: its rows.
        count: how many rows there are on all pages.
        pages: how many pages.
        facets: the counts.
        further: the columns of evidence.
        fault: why there are no rows.
        pending: which part of the texts is there, where some are still to come.
        lost: why the rows have no texts.
    """

    lines: list[LedgerLine]
    count: int
    pages: int
    facets: dict[str, list[FacetCount]]
    further: list[str]
    fault: str = ""
    pending: float | None = None
    lost: str = ""


def routes(context: ViewContext) -> list[Route]:
    """Return the addresses of the pages."""
    context.rows.prepare()
    pages = {
        "/rows": rows_page,
        "/row": row_page,
        "/rows/texts": texts_state,
        "/rows.csv": download,
        "/rows.jsonl": download,
    }
    own = [Route(path, partial(page, context=context)) for path, page in pages.items()]
    return [*own, *rejectpage.routes(context)]


def rows_page(request: Request, context: ViewContext) -> Response:
    """Return the table of the rows that the address asks for."""
    query = RowFilter.of(request.query_params, context.rows.facets)
    with context.rows.texts.paused():
        page = find_page(context.matcher, query)
    return context.render(
        request,
        "rows.html.j2",
        status=400 if page.fault else 200,
        query=query,
        page=page,
        height=context.rows.height,
        numeric=[name for name, kind in context.rows.schema.items() if kind.is_numeric()],
        columns=[*context.rows.schema],
        rejects=context.reject_count,
        command=query.command(context.run.path),
    )


def texts_state(request: Request, context: ViewContext) -> Response:
    """Return whether the texts are there, which a page that lacks them asks for."""
    texts = context.rows.texts
    return JSONResponse({"share": texts.share, "done": texts.done})


def find_page(matcher: RowMatcher, query: RowFilter) -> RowPage:
    """Return the rows and the counts of a filter; where its condition is at fault, that."""
    fault, pending, lost = "", None, ""
    try:
        matches = matcher.find(query)
        facets = matcher.facets(query)
    except UserError as error:
        matches = RowMatches.none()
        facets = matcher.facets(replace(query, where="", range=None, text=""))
        if isinstance(error, PendingTexts):
            pending = error.share
        else:
            fault = str(error)
    page = min(query.page, matches.pages)
    lines, further = _lines(matcher, matches.page(page), _further(matcher, query))
    try:
        lines = _with_excerpts(matcher, matches.page(page), lines)
    except PendingTexts as error:
        pending = error.share
    except UserError as error:
        lost = str(error)
    return RowPage(lines, matches.count, matches.pages, facets, further, fault, pending, lost)


def _further(matcher: RowMatcher, query: RowFilter) -> list[str]:
    """Return the columns of evidence that a filter speaks of."""
    names = [query.sort.removeprefix("-"), query.range.column if query.range else ""]
    names += [name for name in matcher.table.schema if "." in name and name in query.where]
    return [name for name in dict.fromkeys(names) if "." in name and name in matcher.table.schema]


def _lines(
    matcher: RowMatcher, positions: pl.Series, further: Sequence[str]
) -> tuple[list[LedgerLine], list[str]]:
    columns = {name: matcher.table.column(name).gather(positions) for name in LEDGER_COLUMNS}
    beside = [matcher.table.column(name).gather(positions).to_list() for name in further]
    lines = [
        LedgerLine(**line, further=[values[i] for values in beside])
        for i, line in enumerate(pl.DataFrame(columns).to_dicts())
    ]
    return lines, [*further]


def _with_excerpts(
    matcher: RowMatcher, positions: pl.Series, lines: Sequence[LedgerLine]
) -> list[LedgerLine]:
    """Return lines with the starts of their texts."""
    texts = (matcher.table.column(name).gather(positions).str.head(READ_CHARS) for name in TEXTS)
    starts = ([shorten(text or "", EXCERPT_CHARS) for text in column] for column in texts)
    return [
        replace(line, prompt=prompt, response=response)
        for line, prompt, response in zip(lines, *starts, strict=True)
    ]


def row_page(request: Request, context: ViewContext) -> Response:
    """Return a row in full, or what is to say of an id that is no row's."""
    params = request.query_params
    row_id = params.get("id", "")
    query = RowFilter.of(QueryParams(params.get("rows", "")), context.rows.facets)
    position = context.rows.position(row_id)
    if position is None:
        example = read_example(context.run, context.rows, row_id)
        if example is not None:
            return context.render(request, "example.html.j2", example=example, query=query)
        lines = explain_row(context.run, row_id)
        return context.render(request, "explained.html.j2", lines=lines, query=query)
    whole = params.get("all") == "1"
    detail = read_detail(
        context.run, context.rows, position, params.get("against", ""), whole=whole
    )
    before, after = neighbours(context.matcher, query, position)
    return context.render(
        request,
        "row.html.j2",
        row=detail,
        query=query,
        before=before,
        after=after,
        copies=RowFilter(where=f"duplicate_of = {quoted(row_id)}").query,
    )


def neighbours(
    matcher: RowMatcher, query: RowFilter, position: int
) -> tuple[str | None, str | None]:
    """Return the ids of the rows before and after one in the order of a filter."""
    try:
        positions = matcher.find(query).positions.to_numpy()
    except UserError:
        return None, None
    (places,) = np.nonzero(positions == position)
    if not len(places):
        return None, None
    around = (int(places[0]) - 1, int(places[0]) + 1)
    ids = matcher.table.ledger["row_id"]
    before, after = (
        str(ids[int(positions[at])]) if 0 <= at < len(positions) else None for at in around
    )
    return before, after
