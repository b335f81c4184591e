"""Commands that look at finished runs: which there are, what became of rows, what two differ in."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core import completion
from curate.core.console import say, say_json
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.pipeline import tracking
    from curate.report import build, markdown
    from curate.runs import difference, listing, rowquery
    from curate.runs import folder as folders
else:
    tracking = lazy_module("curate.pipeline.tracking")
    build, markdown = (lazy_module(f"curate.report.{name}") for name in ("build", "markdown"))
    difference, folders = (lazy_module(f"curate.runs.{name}") for name in ("difference", "folder"))
    listing, rowquery = (lazy_module(f"curate.runs.{name}") for name in ("listing", "rowquery"))

run_commands = typer.Typer()
RunPath = Annotated[
    Path,
    typer.Argument(
        metavar="RUN", help="Folder of a finished run.", autocompletion=completion.run_folders
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@run_commands.command("ls", epilog="Example: curate ls runs")
def list_runs(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Folder of run folders.")
    ] = Path("runs"),
    json: AsJson = False,
) -> None:
    """List the finished runs of a folder, the latest first, with their verdicts."""
    runs = listing.finished_runs(folder)
    if json:
        say_json(runs)
        return
    say(*(listing.run_lines(runs) if runs else [f"{folder} holds no finished run"]))


@run_commands.command(epilog="Example: curate report runs/quickstart --md > comment.md")
def report(
    run: RunPath,
    md: Annotated[
        bool,
        typer.Option("--md", help="Print Markdown for a pull request instead; write no file."),
    ] = False,
) -> None:
    """Write a run's report anew from its evidence."""
    if md:
        typer.echo(folders.read_run(run, markdown.report_markdown), nl=False)
    else:
        say(build.rewrite_report(run))


@run_commands.command(
    epilog="Example: curate rows runs/quickstart --where \"stage = 'fuzzy'\" --sort -score --text"
)
def rows(
    run: RunPath,
    where: Annotated[
        str | None,
        typer.Option(
            metavar="SQL",
            help="A condition on columns of the ledger, on STAGE.COLUMN of evidence, on prompt and "
            "response.",
        ),
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Order by it; -COLUMN: largest first.")
    ] = None,
    first: Annotated[int, typer.Option(min=0, help="Rows to list at most.")] = 20,
    text: Annotated[bool, typer.Option("--text", help="List prompt and response too.")] = False,
    json: Annotated[bool, typer.Option("--json", help="A JSON object for each row.")] = False,
) -> None:
    """List the rows that meet a condition: dropped by which stage, why, with which score."""
    query = rowquery.RowQuery(where, sort, first, text)
    count, table = folders.read_run(run, query.find)
    say(*(rowquery.json_lines(table) if json else rowquery.row_lines(count, table, text=text)))


@run_commands.command(epilog="Example: curate diff runs/quickstart runs/quickstart-2")
def diff(
    run: RunPath,
    other: Annotated[
        Path,
        typer.Argument(
            metavar="OTHER", help="Folder of another one.", autocompletion=completion.run_folders
        ),
    ],
    json: AsJson = False,
) -> None:
    """Compare two runs: recipes, what is left after each step, selections, verdicts."""
    compared = folders.read_run(
        run,
        lambda one: folders.read_run(other, lambda two: difference.compare_runs(one, two)),
    )
    if json:
        say_json(compared)
    else:
        say(*difference.difference_lines(compared))


@run_commands.command(epilog="Example: curate track runs/quickstart mlflow")
def track(
    run: RunPath,
    tracker: Annotated[str, typer.Argument(metavar="TRACKER", help="mlflow, wandb, trackio ...")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Where to: project, uri ...; repeatable."),
    ] = None,
) -> None:
    """Log a finished run to a tracker: verdict, figures, recipe, report."""
    chosen = tracking.read_tracker(tracker, overrides or [])
    say(f"logged to {tracker}: {tracking.log_to(run, chosen)}")
