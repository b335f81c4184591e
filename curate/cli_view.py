"""Commands that open a finished run in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.view import app as view_app
    from curate.view import context, server
else:
    view_app, context, server = (
        lazy_module(f"curate.view.{name}") for name in ("app", "context", "server")
    )

view_commands = typer.Typer()
RunPath = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a finished run.")]
Port = Annotated[
    int, typer.Option(min=0, max=65_535, help="Port of this machine; 0: any that is free.")
]
NoBrowser = Annotated[bool, typer.Option("--no-browser", help="Only print the address.")]


@view_commands.command(epilog="Example: curate view runs/quickstart")
def view(
    run: RunPath,
    other: Annotated[
        Path | None, typer.Argument(metavar="[OTHER]", help="Another run to compare with.")
    ] = None,
    port: Port = 0,
    no_browser: NoBrowser = False,
) -> None:
    """Look at every row of a run in the browser: its fate, why, with which evidence."""
    opened = context.open_context(run, other)
    viewer = server.ViewServer(view_app.build_app(opened), port)
    viewer.serve(str(run), browser=not no_browser)
