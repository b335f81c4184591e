"""The viewer's pages as one app: what `curate view` serves and a bundle copies.

Each page is a module with `routes(context)`; a page that a run has nothing for returns none, and then
has no entry in the navigation.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from polars.exceptions import PanicException
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from curate.core.faults import explain_fault
from curate.report.drawing import palette_css
from curate.runs.folder import damage_explained
from curate.view import comparepage, label, mappage, marks, rowpages, whatifpage
from curate.view.context import NavigationEntry, ViewContext

MOST_REASON = 300
STATIC = Path(__file__).parent / "static"


@dataclass(frozen=True)
class Page:
    """A page of the navigation, the first of its module's routes."""

    title: str
    path: str
    routes: Callable[[ViewContext], list[Route]]


# In the order of the navigation.
PAGES = (
    Page("Rows", "/rows", rowpages.routes),
    Page("Map", "/map", mappage.routes),
    Page("What if", "/whatif", whatifpage.routes),
    Page("Compare", "/compare", comparepage.routes),
    Page("Marks", "/marks", marks.routes),
    Page("Label", "/label", label.routes),
)


def build_app(context: ViewContext) -> Starlette:
    """Return the app; whoever serves it puts a Guard before it."""
    routes: list[BaseRoute] = [
        Route("/", lambda request: RedirectResponse("/rows", 303)),
        Route("/static/palette.css", palette),
        Mount("/static", StaticFiles(directory=STATIC)),
    ]
    pages = {page: page.routes(context) for page in PAGES}
    context.navigation[:] = [NavigationEntry(p.title, p.path) for p, own in pages.items() if own]
    routes += [route for own in pages.values() for route in own]
    app = Starlette(routes=routes, middleware=[Middleware(FaultPages, context=context)])
    app.add_exception_handler(HTTPException, partial(_http_fault, context))
    return app


def palette(request: Request) -> Response:
    """Return the colours of the report as CSS."""
    return Response(palette_css(), media_type="text/css")


@dataclass(frozen=True)
class FaultPages:
    """An app whose faults are a sentence: a page, or JSON for a script that has sent JSON."""

    app: ASGIApp
    context: ViewContext

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; faults of curate itself go on to the server, which writes them down."""
        started = False

        async def watched_send(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            with damage_explained(self.context.run.path):
                self.context.check_current()
                await self.app(scope, receive, watched_send)
        except (Exception, PanicException) as error:
            sentence = self._sentence(error)
            if started or sentence is None:
                raise
            answer = fault_answer(self.context, Request(scope), sentence, 400)
            await answer(scope, receive, send)

    def _sentence(self, error: BaseException) -> str | None:
        if isinstance(error, PanicException):
            reason = " ".join(str(error).split())[:MOST_REASON]
            return f"{self.context.run.path}: a table of this run cannot be read ({reason})"
        return explain_fault(error)


def _http_fault(context: ViewContext, request: Request, error: Exception) -> Response:
    """Return the page for an address that there is not, or a method that it has not."""
    assert isinstance(error, HTTPException)
    sentence = f"{request.url.path}: {error.detail}; the pages are in the navigation."
    return fault_answer(context, request, sentence, error.status_code)


def fault_answer(context: ViewContext, request: Request, sentence: str, status: int) -> Response:
    """Return a sentence as a page, or as JSON in answer to JSON."""
    if request.method == "POST":
        return JSONResponse({"error": sentence}, status)
    return context.render(request, "fault.html.j2", status, sentence=sentence)
