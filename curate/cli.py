"""The command line. Heavy imports stay inside commands, so that help answers at once."""

import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from curate.cli_cache import cache_commands
from curate.cli_running import Overrides, running_commands
from curate.cli_runs import AsJson, RunPath, run_commands
from curate.cli_store import store_commands
from curate.cli_view import view_commands
from curate.core import completion
from curate.core.console import say, say_json
from curate.core.errors import UserError
from curate.core.escape import printable
from curate.core.interrupt import InterruptHandler

if TYPE_CHECKING:
    from curate.runs.folder import RunFolder
    from curate.runs.rethreshold import RethresholdResult


# From a recipe to a run, then looking at it, changing it, taking it along, and what there is.
ORDER = (
    "init", "check", "evalset", "run", "ls", "report", "view", "rows", "explain", "diff", "plan",
    "rethreshold", "label", "export", "push", "track", "methods", "models", "store", "cache",
)  # fmt: skip


class Commands(TyperGroup):
    """The commands; what they repeat of a wrong command line commands no terminal either."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the commands in the order in which one needs them."""
        places = {name: place for place, name in enumerate(ORDER)}
        return sorted(super().list_commands(ctx), key=lambda name: places.get(name, len(ORDER)))

    def make_context(self, *args: Any, **extra: Any) -> Any:
        """Read the command line up to the command's name."""
        with _printable_faults():
            return super().make_context(*args, **extra)

    def invoke(self, ctx: Any) -> Any:
        """Read the rest of the command line and run the command."""
        with _printable_faults():
            return super().invoke(ctx)


@contextmanager
def _printable_faults() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        # Those of the command line have one that is printed; other libraries' may not be set.
        if isinstance(message := getattr(error, "message", None), str):
            with suppress(AttributeError):
                error.message = printable(message)  # type: ignore[attr-defined]
        raise


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Errors of yours exit with 2, faults of ours with 1; --debug adds the traceback.",
)
app.add_typer(running_commands)
app.add_typer(run_commands)
app.add_typer(view_commands)
app.add_typer(store_commands, name="store")
app.add_typer(cache_commands, name="cache")

ExportPath = Annotated[
    Path | None,
    typer.Option(help="Write this selection's training files to a new folder, with a card."),
]
SelectionName = Annotated[
    str | None,
    typer.Option("--as", metavar="NAME", help="Save this selection, for a proof, in the run."),
]


def _stages_of_run(ctx: typer.Context, incomplete: str) -> list[str]:
    return completion.stages_of(str(ctx.params.get("run", "")), incomplete)


def _print_version(version: bool) -> None:
    if version:
        from curate import __version__

        say(f"curate {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and stop."
        ),
    ] = False,
    plugins: Annotated[
        list[Path] | None,
        typer.Option(
            "--plugin", help="A Python file with methods of your own; repeatable, before COMMAND."
        ),
    ] = None,
) -> None:
    """From a raw instruction pool and a few examples to a proven training set."""
    for path in plugins or []:
        from curate.core.methods import load_plugin

        load_plugin(path.absolute())


@app.command(epilog="Example: curate init demo")
def init(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder for them, made where there is none.")
    ] = Path(),
) -> None:
    """Write a recipe to start with, and the small pool, target and eval set that it reads."""
    import shlex

    from curate.config.quickstart import write_quickstart

    recipe, *data = write_quickstart(folder)
    say(f"{recipe} and {len(data)} files of data are written; go on with")
    if folder.resolve() != Path.cwd():
        say(f"  cd {shlex.quote(str(folder))}")
    say(f"  curate check {recipe.name}      what it would do and cost here")
    say(f"  curate run {recipe.name}        runs it")


@app.command(epilog="Example: curate explain runs/quickstart bundled/chat.jsonl:12")
def explain(
    run: RunPath,
    row_id: Annotated[str, typer.Argument(metavar="ROW_ID", help="As in ledger.parquet.")],
    json: AsJson = False,
) -> None:
    """Say why a row was selected, not selected, dropped or rejected."""
    from curate.runs.explain import explain_row
    from curate.runs.folder import read_run

    sentences = list(read_run(run, lambda folder: explain_row(folder, row_id)))
    if json:
        say_json({"row_id": row_id, "sentences": sentences})
    else:
        say(*sentences)


@app.command(epilog="Example: curate plan runs/quickstart --budget tokens=20000")
def plan(
    run: RunPath,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="KIND=N",
            help="rows=N, tokens=N or fraction=F.",
            autocompletion=completion.budgets,
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change a key of select; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the ranking to this Parquet file.")
    ] = None,
    export: ExportPath = None,
    name: SelectionName = None,
    json: AsJson = False,
) -> None:
    """Make another selection from the same evidence, in seconds."""
    from curate.runs.alternative import planned_alternative
    from curate.runs.deliver import deliver
    from curate.runs.folder import read_run
    from curate.runs.plan import plan_selection
    from curate.runs.summaries import plan_lines, plan_record
    from curate.runs.tablefile import check_table_file, write_table_file

    target = check_table_file(out)
    planned = read_run(run, lambda folder: plan_selection(folder, budget, overrides or []))
    delivered = read_run(run, lambda f: deliver(f, planned_alternative(planned), export, name))
    if target is not None:
        write_table_file(planned.ranking, target)
        delivered = [*delivered, f"ranking written to {target}"]
    if json:
        say_json({**plan_record(planned), "delivered": list(delivered)})
    else:
        say(*plan_lines(planned), *delivered)


@app.command(epilog="Example: curate rethreshold runs/bundled fuzzy --set threshold=0.8")
def rethreshold(
    run: RunPath,
    stage: Annotated[
        str,
        typer.Argument(
            metavar="STAGE", help="As in the run's report.", autocompletion=_stages_of_run
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="threshold, rows, keep ...; repeatable."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Write the verdicts to this Parquet file.")
    ] = None,
    export: ExportPath = None,
    name: SelectionName = None,
    json: AsJson = False,
) -> None:
    """Judge rows anew by a stage's stored pairs, in seconds; nothing is compared again."""
    from curate.runs.alternative import rethresholded_alternative
    from curate.runs.deliver import deliver
    from curate.runs.folder import read_run
    from curate.runs.rethreshold import rethreshold as judge
    from curate.runs.summaries import rethreshold_lines, rethreshold_record
    from curate.runs.tablefile import check_table_file, write_table_file

    target = check_table_file(out)

    def read(folder: "RunFolder") -> tuple["RethresholdResult", list[str]]:
        result = judge(folder, stage, overrides or [])
        return result, rethreshold_lines(folder, result)

    result, lines = read_run(run, read)
    delivered: list[str] = []
    if export is not None or name is not None:
        delivered += read_run(
            run, lambda f: deliver(f, rethresholded_alternative(f, result), export, name)
        )
    if target is not None:
        write_table_file(result.evidence, target)
        delivered.append(f"verdicts written to {target}")
    if json:
        say_json({**rethreshold_record(result), "delivered": delivered})
    else:
        say(*lines, *delivered)


@app.command(epilog="Example: curate export runs/quickstart --format sharegpt --out train/")
def export(
    run: RunPath,
    out: Annotated[Path, typer.Option(help="Folder for the files.")],
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="messages, openai ...; repeatable; those of the recipe if not given.",
            autocompletion=completion.export_formats,
        ),
    ] = None,
) -> None:
    """Write a run's selection as training files, with recipes of trainers."""
    from curate.core.methods import find_method
    from curate.pool.exporter import Exporter
    from curate.runs.folder import read_run
    from curate.runs.training_files import export_run

    for name in formats or []:
        find_method(Exporter, name)
    for path in read_run(run, lambda folder: export_run(folder, formats, out)):
        say(path)


@app.command(epilog="Example: curate push runs/quickstart me/quickstart --private")
def push(
    run: Annotated[
        Path, typer.Argument(metavar="RUN", help="Folder of a finished run, or of an export.")
    ],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Data set on the Hub.")],
    private: Annotated[
        bool, typer.Option("--private", help="Make it private; an existing public one is refused.")
    ] = False,
    revision: Annotated[
        str | None, typer.Option(help="Branch, made where there is none; main.")
    ] = None,
) -> None:
    """Upload a run's training files and their card to the Hugging Face Hub, and nothing else."""
    from curate.runs.push import push_export

    say(*push_export(run, repo, private=private, revision=revision).lines)


@app.command(epilog="Example: curate models")
def models(
    names: Annotated[list[str] | None, typer.Argument(help="Names; all embedded ones.")] = None,
    json: AsJson = False,
) -> None:
    """Show which models resolve here, from where, and how fast they are."""
    from curate.estimate.bench import describe_model
    from curate.models.load import EMBEDDED

    descriptions = map(describe_model, names or EMBEDDED)
    if json:
        say_json([*descriptions])
    else:
        for description in descriptions:
            say(description.lines)


@app.command(epilog="Example: curate methods rds")
def methods(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            help="A stage, selector, generator ...; all.",
            autocompletion=completion.method_names,
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """List the methods that a recipe may use, or show one: parameters, source, cost, pitfalls."""
    from curate.config.methods import describe_methods, method_lines, method_records

    if json:
        say_json(method_records(name))
    else:
        say(*(describe_methods(name) if name else method_lines()))


@app.command(epilog="Example: curate check configs/quickstart.yaml")
def check(
    config: Annotated[
        Path | None,
        typer.Argument(
            metavar="CONFIG", help="Recipe, a YAML file.", autocompletion=completion.recipes
        ),
    ] = None,
    overrides: Overrides = None,
    schema: Annotated[
        bool, typer.Option("--schema", help="Print the JSON Schema of recipes and stop.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Check a recipe and its inputs, and say what a run would do and cost; run nothing."""
    from curate.config.loading import load_config
    from curate.config.recipe import Config

    if schema:
        import orjson

        typer.echo(orjson.dumps(Config.model_json_schema(), option=orjson.OPT_INDENT_2).decode())
        return
    if config is None:
        raise UserError("give a recipe to check, e.g. curate check configs/quickstart.yaml")
    from curate.estimate.recipecheck import check_recipe

    checked = check_recipe(load_config(config, overrides or []))
    if json:
        say_json(checked.record())
    else:
        say(*checked.text(str(config)))


def main() -> None:
    """Run the command line; turn exceptions into one sentence and an exit code."""
    debug = "--debug" in sys.argv
    sys.argv = [argument for argument in sys.argv if argument != "--debug"]
    try:
        # Innermost, so that whatever exception an interrupt ends in is no fault of ours.
        with InterruptHandler():
            app(prog_name="curate")
    except BrokenPipeError:
        # Who read the output has seen enough, as in `curate explain ... | head`.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        from curate.core.faults import explain_fault

        if debug:
            say(traceback.format_exc(), err=True)
        sentence = explain_fault(error)
        if sentence is not None:
            say(f"Error: {sentence}", err=True)
            sys.exit(2)
        say(f"Internal error: {type(error).__name__}: {error}", err=True)
        say("This is a fault of curate; run again with --debug for the traceback.", err=True)
        sys.exit(1)
