"""A run in the viewer, served from a notebook or a script: a link, until it is closed."""

from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Self

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.view import app, context, server
else:
    app, context, server = (
        lazy_module(f"curate.view.{name}") for name in ("app", "context", "server")
    )


class RunViewer:
    """A run's rows in the browser, served on this machine to who has the address, until closed.

    Attributes:
        run: the folder of the run.
        url: the address, which signs a browser in.
    """

    def __init__(self, run: Path, other: Path | None = None) -> None:
        """Serve a run from now on, and another one beside it.

        Raises:
            UserError: a folder is no finished run.
        """
        self.run = run
        self._server = server.ViewServer(app.build_app(context.open_context(run, other)))
        self.url = self._server.url()
        self._closed = False
        self._server.start()

    def close(self) -> None:
        """End the viewer; its address answers no more."""
        if not self._closed:
            self._closed = True
            self._server.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *fault: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{self.run} is closed" if self._closed else f"{self.run} at {self.url}"

    def _repr_html_(self) -> str:
        name = escape(str(self.run))
        if self._closed:
            return f"<p>{name} is closed</p>"
        link = f'<a href="{escape(self.url)}" target="_blank" rel="noopener">Look at {name}</a>'
        until = "on the machine of this notebook, until <code>close()</code>"
        return f"<p>{link} <small>{until}</small></p>"
