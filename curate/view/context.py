"""What every page of the viewer has: the run, another one beside it, the rows in memory, templates."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import polars as pl
from jinja2 import Environment
from starlette.requests import Request
from starlette.responses import HTMLResponse

from curate.core import numerals
from curate.core.errors import UserError
from curate.core.reasons import explain_reason
from curate.report import wording
from curate.report.templating import page_environment
from curate.runs.folder import RunFolder, damage_explained, open_run
from curate.view.rowmatches import RowMatcher
from curate.view.rowpath import row_path
from curate.view.rowtable import RowTable

TEMPLATES = Path(__file__).parent / "templates"
FILTERS = (
    numerals.number, numerals.significant, numerals.measure, numerals.percent, numerals.signed,
    numerals.memory, numerals.similarity, explain_reason, wording.stage_label, row_path,
)  # fmt: skip


@dataclass(frozen=True)
class NavigationEntry:
    """A page of the navigation."""

    title: str
    path: str


@dataclass(frozen=True)
class ViewContext:
    """What the pages of a viewer share.

    Attributes:
        run: the run that is viewed.
        other: one to compare it with.
        navigation: the pages that there are; the app fills it.
    """

    run: RunFolder
    other: RunFolder | None = None
    navigation: list[NavigationEntry] = field(default_factory=list)

    @cached_property
    def rows(self) -> RowTable:
        """Return every row of the run with its fate, in memory."""
        with damage_explained(self.run.path):
            return RowTable.of(self.run)

    @cached_property
    def matcher(self) -> RowMatcher:
        """Return what finds rows by a filter; pages share what it remembers."""
        return RowMatcher(self.rows)

    @cached_property
    def reject_count(self) -> int:
        """Return how many records of the pool's files made no row."""
        return int(self.run.table("rejects").select(pl.len()).collect().item())

    @cached_property
    def templates(self) -> Environment:
        """Return the templates, in which all values are escaped and hidden characters visible."""
        return page_environment(TEMPLATES, *FILTERS)

    def render(
        self, request: Request, template: str, status: int = 200, **values: object
    ) -> HTMLResponse:
        """Return a page; its template extends base.html.j2 and has run, other, navigation and path."""
        page = self.templates.get_template(template).render(
            run=self.run,
            other=self.other,
            navigation=self.navigation,
            path=request.url.path,
            **values,
        )
        return HTMLResponse(page.encode("utf-8", "backslashreplace"), status)

    def check_current(self) -> None:
        """Make sure that the folder still holds the run that is viewed.

        Raises:
            UserError: another run has taken its place.
        """
        for run in filter(None, (self.run, self.other)):
            if not run.is_current():
                raise UserError(
                    f"{run.path} was written anew since it was opened; run `curate view` again"
                )


def open_context(run: Path, other: Path | None = None) -> ViewContext:
    """Return the context of a run, and of another one beside it.

    Raises:
        UserError: a folder is no finished run.
    """
    return ViewContext(open_run(run), None if other is None else open_run(other))
