"""The commands that run a recipe or write its eval set: meanwhile on stderr, the outcome on stdout."""

import os
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core import completion
from curate.core.console import say, say_json
from curate.core.errors import UserError
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate import terminal
    from curate.api import evalset as evalsets
    from curate.config import loading
    from curate.config.recipe import Config
    from curate.orchestration import engines, flowrun
    from curate.pipeline import closing
    from curate.pipeline.run import RunResult
else:
    terminal, loading = lazy_module("curate.terminal"), lazy_module("curate.config.loading")
    engines, flowrun = (lazy_module(f"curate.orchestration.{n}") for n in ("engines", "flowrun"))
    closing = lazy_module("curate.pipeline.closing")
    evalsets = lazy_module("curate.api.evalset")

running_commands = typer.Typer()
ConfigPath = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", help="Recipe, a YAML file.", autocompletion=completion.recipes
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="Change a key of the recipe; repeatable.",
        autocompletion=completion.recipe_keys,
    ),
]


@running_commands.command(
    epilog="Example: curate run configs/quickstart.yaml --set select.budget.rows=50"
)
def run(
    config: ConfigPath,
    out: Annotated[
        Path | None,
        typer.Option(help="Run folder; runs/NAME, or runs/NAME-2 ... beside other recipes' runs."),
    ] = None,
    overrides: Overrides = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace a run of another recipe in that folder.")
    ] = False,
    prefect: Annotated[
        bool,
        typer.Option(
            "--prefect", help="As a Prefect flow; so it is with PREFECT_API_URL set, too."
        ),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Print the run folder alone, and errors.")
    ] = False,
    verbose: Annotated[
        bool,
        typer.Option("-v", "--verbose", help="Log every step: what it read, its key, its time."),
    ] = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Run a recipe to the end: evidence, selection, proof, report, training files."""
    recipe = loading.load_config(config, overrides or [])
    terminal.show_log(_verbosity(quiet, verbose))
    result = _runner(recipe, prefect)(recipe, out, overwrite=overwrite, command=_command())
    if json:
        say_json(closing.result_record(result))
    else:
        width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
        say(*([result.folder] if quiet else closing.closing_lines(result, width)))
    proof = result.proof or {}
    raise typer.Exit(2 if proof.get("verdict") in ("refused", "not measured") else 0)


@running_commands.command(epilog="Example: curate evalset recipe.yaml --out data/eval.jsonl")
def evalset(
    config: ConfigPath,
    out: Annotated[Path, typer.Option(help="The file, JSON Lines.")],
    overrides: Overrides = None,
    json: Annotated[
        bool, typer.Option("--json", help="Print the result as one JSON object.")
    ] = False,
) -> None:
    """Write an eval set from the documents that generators hold out of their corpus."""
    recipe = loading.load_config(config, overrides or [])
    terminal.show_log()
    written = evalsets.evalset(recipe, out)
    if json:
        say_json(written)
    else:
        say(*written.lines, *evalsets.advice(written))


def _verbosity(quiet: bool, verbose: bool) -> "terminal.Verbosity":
    if quiet and verbose:
        raise UserError("-q says less and -v more: give one of them")
    names = terminal.Verbosity
    return names.QUIET if quiet else names.VERBOSE if verbose else names.NORMAL


def _runner(recipe: "Config", prefect: bool) -> "Callable[..., RunResult]":
    """Return what runs a recipe: its store alone, its engine, or a Prefect flow."""
    if prefect or os.environ.get("PREFECT_API_URL"):
        return flowrun.run_flow
    return terminal.run_with_progress if recipe.run.on == "inline" else engines.run_on_engine


def _command() -> str:
    """Return the command line, as provenance."""
    return shlex.join(["curate", *sys.argv[1:]])
