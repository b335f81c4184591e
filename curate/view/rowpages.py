"""The table of all rows: filtered, sorted, counted by fate, stage, reason, source; a page at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curate.core.errors import UserError
from curate.view.context import ViewContext
from curate.view.rowfilter import PAGE_ROWS, RowFilter
from curate.view.rowmatches import FacetCount, RowMatcher, RowMatches

LEDGER_COLUMNS = ("row_id", "fate", "stage", "reason", "score", "rank", "source", "origin")


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


@dataclass(frozen=True)
class RowPage:
    """A page of the table, with the counts beside it; `fault` says why there are no rows."""

    lines: list[LedgerLine]
    count: int
    pages: int
    facets: dict[str, list[FacetCount]]
    further: list[str]
    fault: str = ""


def routes(context: ViewContext) -> list[Route]:
    """Return the addresses of the page."""
    matcher = RowMatcher(context.rows)
    return [Route("/rows", partial(rows_page, context=context, matcher=matcher))]


def rows_page(request: Request, context: ViewContext, matcher: RowMatcher) -> Response:
    """Return the table of the rows that the address asks for."""
    query = RowFilter.of(request.query_params, context.rows.facets)
    page = find_page(matcher, query)
    return context.render(
        request,
        "rows.html.j2",
        status=400 if page.fault else 200,
        query=query,
        page=page,
        height=context.rows.height,
        numeric=numeric_columns(matcher),
        command=query.command(context.run.path),
        first=(query.page - 1) * PAGE_ROWS + 1,
    )


def find_page(matcher: RowMatcher, query: RowFilter) -> RowPage:
    """Return the rows and the counts of a filter; where its condition is at fault, that."""
    try:
        matches, fault = matcher.find(query), ""
        facets = matcher.facets(query)
    except UserError as error:
        matches, fault = RowMatches.none(), str(error)
        facets = matcher.facets(replace(query, where="", range=None, text=""))
    names = [query.sort.removeprefix("-"), query.range.column if query.range else ""]
    further = [
        name for name in dict.fromkeys(names) if "." in name and name in matcher.table.schema
    ]
    lines = _lines(matcher, matches.page(query.page), further)
    return RowPage(lines, matches.count, matches.pages, facets, further, fault)


def _lines(matcher: RowMatcher, positions: pl.Series, further: Sequence[str]) -> list[LedgerLine]:
    columns = {name: matcher.table.column(name).gather(positions) for name in LEDGER_COLUMNS}
    beside = [matcher.table.column(name).gather(positions).to_list() for name in further]
    return [
        LedgerLine(**line, further=[values[i] for values in beside])
        for i, line in enumerate(pl.DataFrame(columns).to_dicts())
    ]


def numeric_columns(matcher: RowMatcher) -> list[str]:
    """Return the columns that have limits: scores and other numbers."""
    return [name for name, kind in matcher.table.schema.items() if kind.is_numeric()]
