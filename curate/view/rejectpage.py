"""The records that made no row: what was wrong with each, by reason, a page at a time."""

from dataclasses import dataclass
from functools import partial
from urllib.parse import urlencode

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curate.core.escape import shorten
from curate.view.context import ViewContext
from curate.view.rowfilter import PAGE_ROWS, page_number

RAW_CHARS = 400


@dataclass(frozen=True)
class RejectLine:
    """A record that made no row; `field` is what was wrong in it."""

    row_id: str
    reason: str
    field: str
    raw: str


def routes(context: ViewContext) -> list[Route]:
    """Return the address of the page, none where every record made a row."""
    if not context.reject_count:
        return []
    return [Route("/rejects", partial(rejects_page, context=context))]


def rejects_page(request: Request, context: ViewContext) -> Response:
    """Return some of the records, of one reason or of all."""
    reason = request.query_params.get("reason", "")
    rejects = context.run.table("rejects")
    counts = rejects.group_by("reason").len().sort("len", "reason", descending=[True, False])
    chosen = rejects.filter(pl.col("reason") == reason) if reason else rejects
    count = chosen.select(pl.len()).collect().item()
    pages = max(-(-count // PAGE_ROWS), 1)
    page = min(page_number(request.query_params.get("page", "")), pages)
    lines = chosen.slice((page - 1) * PAGE_ROWS, PAGE_ROWS).select(
        pl.format("{}/{}:{}", "source", "file", "position").alias("row_id"),
        "reason",
        pl.col("field").fill_null(""),
        # Longer than what is listed: white space goes.
        pl.col("raw").str.head(4 * RAW_CHARS),
    )
    return context.render(
        request,
        "rejects.html.j2",
        reasons=[
            (code, number, address("" if code == reason else code, 1), code == reason)
            for code, number in counts.collect().iter_rows()
        ],
        count=count,
        page=page,
        pages=pages,
        before=address(reason, page - 1) if page > 1 else "",
        after=address(reason, page + 1) if page < pages else "",
        lines=[
            RejectLine(row_id, reason, field, shorten(raw or "", RAW_CHARS))
            for row_id, reason, field, raw in lines.collect().iter_rows()
        ],
    )


def address(reason: str, page: int) -> str:
    """Return the address of some of the records."""
    pairs = [("reason", reason)] if reason else []
    pairs += [("page", str(page))] if page > 1 else []
    return f"/rejects?{urlencode(pairs)}" if pairs else "/rejects"
