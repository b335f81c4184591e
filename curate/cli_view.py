"""Commands that open a finished run in the browser."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core import completion
from curate.core.console import say
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.runs import folder as folders
    from curate.runs import label_export, labels
    from curate.view import app as view_app
    from curate.view import bundle as bundles
    from curate.view import context, server
else:
    folders, label_export, labels = (
        lazy_module(f"curate.runs.{name}") for name in ("folder", "label_export", "labels")
    )
    view_app, bundles, context, server = (
        lazy_module(f"curate.view.{name}") for name in ("app", "bundle", "context", "server")
    )

view_commands = typer.Typer()
RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a finished run.", autocompletion=completion.run_folders
    ),
]
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
    bundle: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write a static copy to share to this folder instead."),
    ] = None,
) -> None:
    """Look at every row of a run in the browser: its fate, why, with which evidence."""
    if bundle is not None:
        say(*folders.read_run(run, lambda one: bundles.write_bundle(one, bundle)))
        return
    opened = context.open_context(run, other)
    viewer = server.ViewServer(view_app.build_app(opened), port)
    viewer.serve(str(run), browser=not no_browser)


@view_commands.command(epilog="Example: curate label runs/quickstart --count 100")
def label(
    run: RunPath,
    count: Annotated[int, typer.Option(min=1, max=10_000, help="Rows of a batch.")] = 50,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the rows as JSON Lines; open no browser."),
    ] = None,
    port: Port = 0,
    no_browser: NoBrowser = False,
) -> None:
    """Label rows right or wrong, those first whose labels help `confidence` most."""
    if out is not None:
        target = out
        written = folders.read_run(run, lambda one: label_export.export_rows(one, count, target))
        say(f"{written:,} rows are written to {out}: fill in `correct` (true or false), then")
        say(f"  {{method: confidence, labels: {{path: {out}}}}}")
        return
    opened = context.open_context(run)
    say(labels.begin_labelling(opened.run, count))
    viewer = server.ViewServer(view_app.build_app(opened), port)
    viewer.serve(str(run), "/label", browser=not no_browser)
