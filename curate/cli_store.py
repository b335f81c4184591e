"""The commands of a store: what it holds, whether it is whole, and what may go."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core.console import say, say_json
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.runs import housekeeping
else:
    housekeeping = lazy_module("curate.runs.housekeeping")

store_commands = typer.Typer(no_args_is_help=True, help="Look after a store of artifacts.")
StoreAddress = Annotated[
    str, typer.Argument(metavar="[STORE]", help="Folder or bucket, as `store` in a recipe.")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON.")]


@store_commands.command(epilog="Example: curate store du s3://bucket/curate")
def du(
    store: StoreAddress = ".curate/store",
    json: AsJson = False,
) -> None:
    """Say how much the results of each step take."""
    usage = housekeeping.store_usage(housekeeping.existing_store(store))
    if json:
        say_json(usage)
    else:
        say(*housekeeping.usage_lines(usage))


@store_commands.command(epilog="Example: curate store verify --delete")
def verify(
    store: StoreAddress = ".curate/store",
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove what is damaged; a run makes it again.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Read every file of a store and say which artifacts are damaged; the status is 2 if some stay."""
    opened = housekeeping.existing_store(store)
    damaged, records = [], []
    for entry, files in housekeeping.damaged_entries(opened):
        damaged.append(entry)
        records.append({"name": entry.name, "bytes": entry.bytes, "files": files})
        if not json:
            say(f"{entry.name}: {', '.join(files)} damaged or missing")
        if delete:
            opened.remove(entry.name)
    if json:
        say_json({"damaged": records, "removed": delete})
    else:
        say(housekeeping.total_line(damaged, "removed" if delete else "damaged"))
    if damaged and not delete:
        if not json:
            say("--delete removes what is damaged; a run of the recipe makes it again")
        raise typer.Exit(2)


@store_commands.command(epilog="Example: curate store gc --run runs --run /data/runs --delete")
def gc(
    store: StoreAddress = ".curate/store",
    runs: Annotated[
        list[Path] | None,
        typer.Option(
            "--run", metavar="FOLDER", help="Run folder, or folder of some; repeatable [runs]."
        ),
    ] = None,
    days: Annotated[
        float, typer.Option(min=0, help="Keep what was used in so many days, by whatever run.")
    ] = 7,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; without it they are listed.")
    ] = False,
    json: AsJson = False,
) -> None:
    """List the artifacts that no run folder needs and that were not used lately, or remove them."""
    opened = housekeeping.existing_store(store)
    unneeded = housekeeping.unneeded_entries(opened, runs or [Path("runs")], days)
    if delete:
        for entry in unneeded:
            opened.remove(entry.name)
    if json:
        records = [{"name": entry.name, "bytes": entry.bytes} for entry in unneeded]
        say_json({"unneeded": records, "removed": delete})
    else:
        say(*housekeeping.removal_lines(unneeded, removed=delete))
