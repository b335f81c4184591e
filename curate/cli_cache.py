"""The commands of a cache of answers: what it holds, what may go, and a copy to take along."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from curate.core.console import say, say_json
from curate.core.errors import UserError
from curate.core.lazy import lazy_module

if TYPE_CHECKING:
    from curate.llm import cachefile
    from curate.runs import answerfile, housekeeping
else:
    answerfile = lazy_module("curate.runs.answerfile")
    cachefile = lazy_module("curate.llm.cachefile")
    housekeeping = lazy_module("curate.runs.housekeeping")

cache_commands = typer.Typer(
    no_args_is_help=True, help="Look after the answers of language models in a store."
)
StoreAddress = Annotated[
    str, typer.Argument(metavar="[STORE]", help="Folder or bucket, as `store` in a recipe.")
]
ModelName = Annotated[str | None, typer.Option("--model", help="Only answers of this model.")]
EngineName = Annotated[
    str | None, typer.Option("--engine", help="Only of this engine, such as openai.")
]
AnswerFile = Annotated[Path, typer.Argument(metavar="FILE", help="NAME.jsonl or NAME.parquet.")]


@cache_commands.command(epilog="Example: curate cache size")
def size(
    store: StoreAddress = ".curate/store",
    json: Annotated[bool, typer.Option("--json", help="Print it as JSON.")] = False,
) -> None:
    """Say how many answers of each model this machine has, and what they take."""
    opened = housekeeping.existing_store(store)
    usage = answerfile.answer_usage(opened)
    if json:
        say_json(usage)
    else:
        say(*answerfile.usage_lines(usage), *filter(None, [answerfile.bucket_line(opened)]))


@cache_commands.command(epilog="Example: curate cache prune --model gpt-5-mini --days 90 --delete")
def prune(
    store: StoreAddress = ".curate/store",
    days: Annotated[
        float | None, typer.Option(min=0, help="Only those made so many days ago or earlier.")
    ] = None,
    model: ModelName = None,
    engine: EngineName = None,
    delete: Annotated[
        bool, typer.Option("--delete", help="Remove them; without it they are listed.")
    ] = False,
) -> None:
    """List the answers of a model or of an age, or remove them: what asks for them pays again."""
    # One moment for both: an answer that comes of age while the list is read is not removed unlisted.
    until = None if days is None else cachefile.time_days_ago(days)
    choice = cachefile.AnswerChoice(engine, model, until)
    if choice == cachefile.ANY:
        raise UserError("say which answers may go: --days, --model or --engine")
    opened = housekeeping.existing_store(store)
    with cachefile.CacheFile(answerfile.answers_path(opened)) as file:
        file.check(choice)
        say(*answerfile.usage_lines(file.usage(choice)))
        if delete:
            say(f"{file.remove(choice):,} answers removed")
        else:
            say("--delete removes them")
    say(*filter(None, [answerfile.bucket_line(opened)]))


@cache_commands.command(epilog="Example: curate cache export answers.parquet --model gpt-5-mini")
def export(
    file: AnswerFile,
    store: StoreAddress = ".curate/store",
    model: ModelName = None,
    engine: EngineName = None,
) -> None:
    """Write the answers of this machine to a new file."""
    opened = housekeeping.existing_store(store)
    choice = cachefile.AnswerChoice(engine, model)
    with cachefile.CacheFile(answerfile.answers_path(opened)) as answers:
        answers.check(choice)
        number = answerfile.write_answers(answers.answers(choice), file)
    say(f"{number:,} answers in {file}")


@cache_commands.command("import", epilog="Example: curate cache import answers.parquet")
def import_answers(file: AnswerFile, store: StoreAddress = ".curate/store") -> None:
    """Add the answers of an exported file to those of this machine; what is there stays as it is."""
    opened = housekeeping.existing_store(store)
    answers = list(answerfile.read_answers(file))
    with cachefile.CacheFile(answerfile.answers_path(opened), new=True) as stored:
        added = stored.add(answers)
    say(f"{added:,} of {len(answers):,} answers are new here")
    say(*filter(None, [answerfile.bucket_line(opened)]))
