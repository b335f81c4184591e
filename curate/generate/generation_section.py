"""The sections of generated rows: what all methods made, kept and paid, their fates, each method."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from curate.core.numerals import counted, number, percent, significant
from curate.core.runrecord import RunTables
from curate.core.section import (
    Block,
    Cell,
    Code,
    DataTable,
    Heading,
    Inline,
    Paragraph,
    Quote,
    Section,
    Strong,
    note,
    paragraph,
)
from curate.generate.generation import Generator
from curate.generate.generator_section import GeneratorRecord, generator_section
from curate.generate.outcome import CANDIDATES, MethodOutcome, RowWriter

ANCHOR = "generated"
FATES = ("rows", "dropped", "not_selected", "selected")
FAVOURED = (
    " Where made rows begin at the target examples, a method that ranks by nearness to these is bound "
    "to favour them; only the proof says whether they help."
)


def generation_sections(
    run: RunTables,
    writer: RowWriter | None,
    outcomes: Sequence[MethodOutcome],
    generators: Mapping[str, Generator | None],
    stage_label: Callable[[str], str],
    own_engines: Sequence[str] = (),
) -> tuple[Section, ...]:
    """Return the section of all generation methods, and those of each.

    Args:
        run: the finished run.
        writer: the recipe's engine, None if no method asked it.
        own_engines: the names of the engines that methods name themselves.
        outcomes: what each method came to.
        generators: the methods by their names, None for those that are no longer here.
        stage_label: what the run calls a stage, by its name there.
    """
    sections: list[Section | None] = [
        Section(ANCHOR, "Generated rows", tuple(_overview(run, writer, own_engines, outcomes)))
    ]
    for outcome in outcomes:
        generator = generators[outcome.method]
        label = generator.title if generator else outcome.method
        record = GeneratorRecord(run, outcome, label, stage_label)
        sections.append(generator.section(record) if generator else generator_section(record))
    return tuple(section for section in sections if section)


def _overview(
    run: RunTables,
    writer: RowWriter | None,
    own_engines: Sequence[str],
    outcomes: Sequence[MethodOutcome],
) -> Iterator[Block]:
    fates = fates_by_method(run)
    yield paragraph(_lead(sum(outcome.generated for outcome in outcomes), fates))
    if writer is None and not own_engines:
        yield note("Written by programs, whose answers are exact: no model was asked.")
    else:
        unchecked = _unchecked([one.method for one in outcomes])
        yield note(*_writer(writer, own_engines), " ", *unchecked)
    yield _costs(outcomes)
    if any(outcome.cached for outcome in outcomes):
        yield note(
            "Answers from the store were paid for by an earlier run. Per kept row they count like the "
            "others."
        )
    yield from _ends(outcomes)
    yield Heading("What became of the rows")
    yield _fates([outcome.method for outcome in outcomes], fates)
    favoured = FAVOURED if run.has("evidence/coverage") else ""
    yield note(
        f"A made row is compared, checked for leaks and selected like one that was read.{favoured}"
    )
    yield note(
        "The examples below are taken at even distances in the order of making, not chosen. "
        "generated/candidates.parquet has all of them."
    )


def fates_by_method(run: RunTables) -> pl.DataFrame:
    """Return the number of rows by fate of each method (columns method and FATES).

    The rows that were read have no method.
    """
    kept = run.table(CANDIDATES).filter(pl.col("flaw").is_null()).select("row_id", "method")
    counts = [pl.col("fate").eq(fate).sum().cast(pl.Int64).alias(fate) for fate in FATES[1:]]
    return (
        run.table("ledger")
        .select("row_id", "fate")
        .join(kept.unique("row_id"), on="row_id", how="left")
        .group_by("method")
        .agg(pl.len().cast(pl.Int64).alias("rows"), *counts)
        .collect()
    )


def _counts(fates: pl.DataFrame) -> dict[str, int]:
    return {name: int(fates[name].sum()) for name in FATES}


def _lead(candidates: int, fates: pl.DataFrame) -> str:
    counts = _counts(fates.drop_nulls("method"))
    rows, dropped, selected = counts["rows"], counts["dropped"], counts["selected"]
    joined = (
        f"{number(rows)} of them ({percent(rows / candidates)}) joined the pool before the stages; the "
        "others were dropped as they were made."
        if rows < candidates
        else "all of them joined the pool before the stages."
    )
    stages = (
        f"The stages dropped {number(dropped)} of the made rows"
        if dropped
        else "No stage dropped a made row"
    )
    return (
        f"{counted(candidates, 'candidate')} {'was' if candidates == 1 else 'were'} made, and {joined} "
        f"{stages}, and {number(selected)} were selected: "
        f"{percent(selected / _counts(fates)['selected'])} of the selection."
    )


def _writer(writer: RowWriter | None, own_engines: Sequence[str]) -> Iterator[Inline]:
    """Yield who wrote the rows: the recipe's engine, and those that methods name themselves."""
    if writer is not None:
        yield from _recipe_writer(writer)
    if own_engines:
        yield f"{'' if writer is None else ' '}Engines of the methods' own: "
        for i, name in enumerate(own_engines):
            yield from (", " * (i > 0), Quote(name))
        yield "."


def _recipe_writer(writer: RowWriter) -> Iterator[Inline]:
    """Yield the model, where it runs, and what identifies it."""
    yield from ("Written by ", Quote(writer.model))
    if writer.engine == "openai":
        yield f", behind {f'{writer.servers} servers' if writer.servers > 1 else 'a server'}"
    else:
        yield f", in this process, by {writer.engine}"
    for name, value in writer.facts:
        yield from (f", {name} ", Quote(value))
    if writer.structured:
        yield f", structured answers by {writer.structured.replace('_', ' ')}"
    yield "."


def _unchecked(methods: Sequence[str]) -> Iterator[Inline]:
    if "reject" not in methods:
        yield "No filter checks whether what it writes is true."
        return
    yield "What "
    yield Code("reject")
    rest = "; of the rest, no filter checks whether it is true" if len(methods) > 1 else ""
    yield f" keeps has the known final answer{rest}."


def _costs(outcomes: Sequence[MethodOutcome]) -> DataTable:
    stored = any(outcome.cached for outcome in outcomes)
    priced = any(outcome.cost for outcome in outcomes)
    columns = [
        "Method", "#Made", "#Kept", "#Yield", "#LLM calls", *["#From the store"] * stored,
        "#LLM tokens", *["#Cost"] * priced, "#Calls per kept row", "#Tokens per kept row",
        *["#Cost per kept row"] * priced,
    ]  # fmt: skip
    lines: tuple[tuple[Cell, ...], ...] = tuple(
        (
            Code(one.method), number(one.generated), number(one.kept), percent(one.share),
            number(one.calls), *[number(one.cached)] * stored, number(one.tokens),
            *[significant(one.cost)] * priced, significant(one.calls_a_row),
            number(one.tokens_a_row),
            *[significant(one.cost / one.kept if one.kept else None)] * priced,
        )
        for one in outcomes
    )  # fmt: skip
    return DataTable(tuple(columns), lines)


def _ends(outcomes: Sequence[MethodOutcome]) -> Iterator[Paragraph]:
    for one in outcomes:
        if one.failed:
            yield _warning(one.method, "failed", one.failed)
    for one in outcomes:
        if one.stopped:
            began = one.generated or one.calls or one.cached
            yield _warning(one.method, "ended early" if began else "was not started", one.stopped)


def _warning(method: str, end: str, reason: str) -> Paragraph:
    return Paragraph((Code(method), f" {end}: ", Quote(reason), "."), "warning")


def _fates(methods: Sequence[str], fates: pl.DataFrame) -> DataTable:
    generated = fates.drop_nulls("method")
    parts: list[tuple[Inline, pl.DataFrame]] = [
        (Code(method), generated.filter(method=method)) for method in methods
    ]
    if len(parts) > 1:
        parts.append((Strong("All made"), generated))
    parts.append(("Read", fates.filter(pl.col("method").is_null())))
    columns = (
        "Rows", "#All", "#Dropped by stages", "#Not selected", "#Selected", "#Share selected",
    )  # fmt: skip
    lines = tuple((name, *_fate_cells(_counts(part))) for name, part in parts)
    return DataTable(columns, lines)


def _fate_cells(counts: Mapping[str, int]) -> Iterator[str]:
    yield from (number(counts[name]) for name in FATES)
    yield percent(counts["selected"] / counts["rows"] if counts["rows"] else None)
