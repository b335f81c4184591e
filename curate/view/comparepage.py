"""Two runs beside one another: recipes, funnels, selections, verdicts, and the rows of one alone."""

from dataclasses import dataclass
from functools import partial

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curate.runs.difference import BY_ID, BY_TEXT, NOT_THERE, compare_runs, rows_of_one
from curate.runs.folder import RunFolder, damage_explained
from curate.runs.verdict_text import CONTROLS, ComparisonFigures, ProofFigures
from curate.view.context import ViewContext
from curate.view.excerpts import read_excerpts

ALONE = ("A", "B")
KEYS = {BY_TEXT: "text", BY_ID: "id"}
PAGE_ROWS = 20


@dataclass(frozen=True)
class LonelyRow:
    """A row that one run selects alone, and what became of it in the other."""

    row_id: str
    source: str
    origin: str | None
    rank: int | None
    fate: str
    stage: str | None
    reason: str | None


@dataclass(frozen=True)
class CompareQuery:
    """Which run's rows are listed, what makes rows the same, and which page."""

    alone: str = ALONE[0]
    key: str = BY_TEXT
    page: int = 1

    @classmethod
    def of(cls, query: QueryParams) -> "CompareQuery":
        """Return what the query of an address asks for."""
        alone, key, page = (query.get(name, "") for name in ("alone", "key", "page"))
        return cls(
            alone if alone in ALONE else ALONE[0],
            key if key in KEYS else BY_TEXT,
            max(int(page), 1) if page.isascii() and page.isdigit() and len(page) < 10 else 1,
        )


def routes(context: ViewContext) -> list[Route]:
    """Return the address of the page, none where there is one run."""
    if context.other is None:
        return []
    page = partial(compare_page, context=context, one=context.run, other=context.other)
    return [Route("/compare", page)]


def compare_page(
    request: Request, context: ViewContext, one: RunFolder, other: RunFolder
) -> Response:
    """Return what two runs differ in, and the rows that one of them selects alone."""
    query = CompareQuery.of(request.query_params)
    pair = (one, other) if query.alone == ALONE[0] else (other, one)
    with damage_explained(other.path), damage_explained(one.path):
        difference = compare_runs(one, other)
        rows = rows_of_one(*pair, query.key)
        pages = max(-(-rows.height // PAGE_ROWS), 1)
        page = min(query.page, pages)
        part = rows.slice((page - 1) * PAGE_ROWS, PAGE_ROWS)
        excerpts = read_excerpts(pair[0], part["row_id"])
    return context.render(
        request,
        "compare.html.j2",
        difference=difference,
        verdicts=[*zip(ALONE, difference.verdicts, strict=True)],
        intervals=interval_lines,
        query=query,
        keys=KEYS,
        rows=[LonelyRow(*row) for row in part.iter_rows()],
        count=rows.height,
        page=page,
        pages=pages,
        excerpts=excerpts,
        absent=NOT_THERE,
    )


@dataclass(frozen=True)
class IntervalLine:
    """A difference to a control with its interval, and how far random draws lie from one another."""

    control: str
    unit: str
    difference: float
    low: float | None
    high: float | None
    half: float | None


def interval_lines(proof: ProofFigures) -> list[IntervalLine]:
    """Return the comparisons of a proof by its own metric."""
    own = [c for c in proof.get("comparisons", ()) if c["metric"] == proof.get("metric")]
    return [_interval_line(comparison) for comparison in own]


def _interval_line(comparison: ComparisonFigures) -> IntervalLine:
    estimate = comparison.get("estimate") or {}
    return IntervalLine(
        CONTROLS.get(comparison["control"], comparison["control"]),
        comparison["unit"],
        comparison["mean_difference"],
        estimate.get("low"),
        estimate.get("high"),
        comparison.get("half"),
    )
