"""The rows of a filter as a file, CSV or JSON Lines, written as it is sent.

A spreadsheet takes a cell that begins with =, +, - or @ for a formula, and would compute what a row of
a pool says. In a CSV file such texts have an apostrophe before them; JSON Lines have them as they are.
"""

from collections.abc import Iterator
from pathlib import PurePath

import polars as pl
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from curate.runs.rowquery import LINE, TEXTS
from curate.view.context import ViewContext
from curate.view.rowfilter import RowFilter
from curate.view.rowtable import RowTable, plain_text

CHUNK_ROWS = 5_000
FORMULA = r"^[\s\x00]*[=+\-@＝＋－＠]"


def download(request: Request, context: ViewContext) -> Response:
    """Return the rows of a filter in its order, with the evidence that it speaks of and their texts."""
    table = context.rows
    query = RowFilter.of(request.query_params, table.facets)
    for name in TEXTS:
        # A file is not written anew when the texts are there: it waits for them.
        table.texts.column(name, patient=True)
    positions = context.matcher.find(query).positions
    spoken = f"{query.condition} {query.sort}"
    further = [name for name in table.schema if "." in name and name in spoken]
    frames = _frames(table, positions, [*LINE, *further, *TEXTS])
    suffix = PurePath(request.url.path).suffix
    chunks, kind = (
        (_csv(frames), "text/csv; charset=utf-8")
        if suffix == ".csv"
        else ((frame.write_ndjson() for frame in frames), "application/x-ndjson")
    )
    name = "".join(c if c.isascii() and c.isalnum() else "-" for c in context.run.manifest["name"])
    headers = {"Content-Disposition": f'attachment; filename="{name}-rows{suffix}"'}
    return StreamingResponse(chunks, media_type=kind, headers=headers)


def _frames(table: RowTable, positions: pl.Series, names: list[str]) -> Iterator[pl.DataFrame]:
    """Yield the rows of a file some thousand at a time; one frame at least, for its head."""
    for start in range(0, max(len(positions), 1), CHUNK_ROWS):
        part = positions.slice(start, CHUNK_ROWS)
        columns = (table.column(name).gather(part).alias(name) for name in names)
        yield pl.DataFrame([plain_text(column) for column in columns])


def _csv(frames: Iterator[pl.DataFrame]) -> Iterator[str]:
    for number, frame in enumerate(frames):
        yield without_formulas(frame).write_csv(include_header=number == 0)


def without_formulas(frame: pl.DataFrame) -> pl.DataFrame:
    """Return a frame whose texts no spreadsheet takes for formulas."""
    texts = pl.selectors.string()
    formula = texts.str.contains(FORMULA)
    return frame.with_columns(pl.when(formula).then("'" + texts).otherwise(texts).name.keep())
