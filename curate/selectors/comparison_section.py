"""Compared methods in the report: what their selections share, how alike they rank, what each adds."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from curate.core.chart import Strip, Strips
from curate.core.numerals import correlation, counted, measure, number, overlap, percent, similarity
from curate.core.runrecord import RunTables
from curate.core.section import (
    Bar,
    Block,
    Cell,
    Code,
    Columns,
    DataTable,
    Details,
    Figure,
    Heading,
    Heat,
    Item,
    Link,
    Quiet,
    Quote,
    RowList,
    RowPart,
    Section,
    note,
    paragraph,
)
from curate.selectors import coverage_section
from curate.selectors.comparison import KEPT

TABLE = "evidence/comparison"
ALONE = 5
GROUPS = 12
Groups = Mapping[tuple[str, str | None], Mapping[str, float]]


@dataclass(frozen=True)
class ComparedMethod:
    """A selection of a comparison: its name in the run, and its method and settings in words.

    own_plan: the parameters of the choice (budget, filter ...) that are not those of the run.
    unscored: a sentence on the rows that it could not score, empty for none.
    """

    name: str
    method: str
    words: str
    own_plan: tuple[str, ...] = ()
    unscored: str = ""


def comparison_section(
    run: RunTables, methods: Sequence[ComparedMethod], kept: int
) -> Section | None:
    """Return what the report says of compared methods, None where the run compares nothing.

    Args:
        run: the finished run.
        methods: the selections, the run's own first.
        kept: the number of rows that all of them choose from.
    """
    if not run.has(f"{TABLE}-overlap"):
        return None
    names = [method.name for method in methods]
    within = "" if any(method.own_plan for method in methods) else " within the same budget"
    lead = paragraph(
        f"What other methods would choose of the same {number(kept)} rows{within}. The selection of "
        "this run is that of ", Code(names[0]), ", in the first line. Any of the others can be cut at "
        "another budget with ", Code(f"curate plan RUN --set method={names[1]}"), ".",
    )  # fmt: skip
    blocks: tuple[Block, ...] = (
        lead,
        _methods(run, methods),
        *(note(method.unscored) for method in methods[1:] if method.unscored),
        _matrices(run.table(f"{TABLE}-overlap").collect(), names),
        *_nearness(run, methods),
        *_mixes(run, names),
        *_alone(run, names),
    )
    return Section("methods", "Methods compared", blocks)


def _methods(run: RunTables, methods: Sequence[ComparedMethod]) -> DataTable:
    """Return a line for each selection: its size, what it shares, how near it comes to the target."""
    selections = (
        run.table(f"{TABLE}-selections").collect().rows_by_key("name", named=True, unique=True)
    )
    pairs = run.table(f"{TABLE}-overlap").filter(pl.col("one") == methods[0].name)
    shared = dict(pairs.select("other", "shared").collect().iter_rows())
    near = dict(_similarities(run))
    lines = []
    for method in methods:
        counts = selections[method.name]
        own = Quiet(f" (its own {', '.join(method.own_plan)})") if method.own_plan else ""
        line: tuple[Cell, ...] = (
            Code(method.name), (method.words, own), number(counts["rows"]), number(counts["tokens"]),
            number(shared.get(method.name)), number(counts["alone"]),
        )  # fmt: skip
        lines.append(line + (_near_cells(near[method.name]) if near else ()))
    columns: tuple[str, ...] = (
        "Method",
        "What it is",
        "#Rows",
        "#Tokens",
        "#Also in the selection",
        "#In no other",
    )
    if near:
        columns += ("#Mean nearness to the target", "#Thin: missed", "#Thin: gaps")
    return DataTable(columns, tuple(lines), frozenset({0}))


def _similarities(run: RunTables) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield each selection's nearness to the target examples (columns similarity, state)."""
    if run.has(coverage_section.TABLE):
        table = run.table(coverage_section.TABLE).select("name", "similarity", "state").collect()
        for (name,), group in table.group_by("name", maintain_order=True):
            yield str(name), group


def _near_cells(near: pl.DataFrame) -> tuple[Cell, ...]:
    thin = (number(near.filter(state=state).height) for state in ("missed", "gap"))
    return (measure(near["similarity"].mean()), *thin)  # type: ignore[arg-type]


def _matrices(pairs: pl.DataFrame, names: Sequence[str]) -> Columns:
    """Return how much two selections share, and how alike their methods rank."""
    low, high = (overlap(value) for value in (pairs["by_chance"].min(), pairs["by_chance"].max()))  # type: ignore[arg-type]
    least, most = pairs["ranked"].min(), pairs["ranked"].max()
    ranked = f"all {number(least)}" if least == most else f"the {number(least)} to {number(most)}"  # type: ignore[arg-type]
    shared = note(
        "Jaccard similarity: rows in both selections, of those in either. Two random draws of these "
        f"sizes would have {low if low == high else f'{low} to {high}'}."
    )
    order = note(
        f"Spearman's rank correlation over {ranked} rows that both could score, chosen or not: 1 for "
        "the same order, 0 for none in common."
    )
    return Columns(
        (
            (Heading("The same rows"), matrix(pairs, names, "jaccard"), shared),
            (Heading("The same order"), matrix(pairs, names, "correlation"), order),
        )
    )


def matrix(pairs: pl.DataFrame, names: Sequence[str], column: str) -> DataTable:
    """Return a symmetric table of a number (jaccard or correlation) between selections.

    Args:
        pairs: columns one, other and the number, a line for each pair.
        names: of the selections.
        column: the number's.
    """
    words = correlation if column == "correlation" else overlap
    values: dict[frozenset[str], float | None] = {
        frozenset((one, other)): value
        for one, other, value in pairs.select("one", "other", column).iter_rows()
    }

    def cell(one: str, other: str) -> Cell:
        value = values.get(frozenset((one, other)))
        return "" if one == other else Heat(words(value), value)

    lines = tuple((Code(one), *(cell(one, other) for other in names)) for one in names)
    return DataTable(("", *(f"#{name}" for name in names)), lines, frozenset({0}), "matrix")


def _nearness(run: RunTables, methods: Sequence[ComparedMethod]) -> Iterator[Block]:
    """Yield a strip for each selection: the similarity of its nearest row to every target example."""
    near = dict(_similarities(run))
    if not near:
        return
    limit = run.table(coverage_section.TABLE).select("limit").head(1).collect().item()
    strips = tuple(
        Strip(name, tuple(group["similarity"].sort()), group["similarity"].mean())  # type: ignore[arg-type]
        for name, group in near.items()
    )
    described = "; ".join(f"{strip.name} {similarity(strip.mean)} on average" for strip in strips)
    chart = Strips(
        strips,
        "similarity",
        f"Nearness of each selection to the target examples: {described}.",
        limit,
    )
    left = f" Left of the dashed line, {similarity(limit)}, an example is thin."
    caption = paragraph("." if limit is None else f".{left}")
    keys = (("accent", "mean"), ("control", "the nearest chosen row to one target example"))
    by_chance = any(method.method == "random" for method in methods)
    text = (
        paragraph(
            "Similarity and thin examples are those of ",
            Link("Target coverage", coverage_section.ANCHOR),
            ". They say what a selection holds, not how good it is to train on: only the proof does, "
            "and only for the selection of this run.",
        ),
        paragraph(
            "A method that ranks by the same embeddings is bound to come near."
            + (" What a random draw reaches is reached by chance." if by_chance else "")
        ),
    )
    yield Heading("Nearness to the target")
    yield Columns(((Figure(chart, caption, keys=keys),), text))


def _mixes(run: RunTables, names: Sequence[str]) -> Iterator[Block]:
    """Yield the mix by source and by origin, each unless all rows are of one."""
    mix = run.table(f"{TABLE}-mix").collect()
    origins = shares_of(mix, "origin")
    sources = shares_of(mix, "source")
    if len(sources) > 1:
        yield Heading("What they are made of")
        yield from _mix_table(sources, names, "Source")
    if len(origins) > 1 and len(sources) > 1:
        yield Details("By origin", tuple(_mix_table(origins, names, "Origin", with_source=True)))
    elif len(origins) > 1:
        yield Heading("What they are made of")
        yield from _mix_table(origins, names, "Origin")


def shares_of(mix: pl.DataFrame, by: str) -> Groups:
    """Return each group's share of each selection's rows (KEPT: of all kept rows).

    Args:
        mix: columns name (of a selection), source, origin, rows.
        by: source or origin, within a source.
    """
    if by == "source":
        mix = mix.group_by("name", "source").agg(pl.sum("rows")).with_columns(origin=None)
    shares = mix.with_columns(share=pl.col("rows") / pl.sum("rows").over("name"))
    groups: dict[tuple[str, str | None], dict[str, float]] = {}
    for source, origin, name, share in shares.select(
        "source", "origin", "name", "share"
    ).iter_rows():
        groups.setdefault((source, origin), {})[name] = share
    return groups


def _mix_table(
    groups: Groups, names: Sequence[str], by: str, *, with_source: bool = False
) -> Iterator[Block]:
    """Yield the groups with the largest share of any selection or of the kept rows."""
    order = sorted(groups, key=lambda key: (-max(groups[key].values()), key[0], key[1] or ""))
    largest_groups = sorted(
        order[:GROUPS],
        key=lambda key: (-groups[key].get(names[0], 0.0), -groups[key].get(KEPT, 0.0), key[0]),
    )
    largest = max(max(shares.values()) for shares in groups.values())
    lines = tuple(
        (
            _group_name(*key, by=by, with_source=with_source),
            *(_share(groups[key].get(name, 0.0), largest) for name in (KEPT, *names)),
        )
        for key in largest_groups
    )
    columns = (by, "#All kept rows", *(f"#{name}" for name in names))
    yield DataTable(columns, lines, style="mixes")
    if len(groups) > len(largest_groups):
        yield note(
            f"The {len(largest_groups)} with the largest share anywhere, of {number(len(groups))}; "
            "comparison-mix.parquet has them all."
        )


def _group_name(source: str, origin: str | None, *, by: str, with_source: bool) -> Cell:
    if by == "Source":
        return Quote(source)
    name = Quote("(no origin)" if origin is None else origin)
    return (Quote(source), Quiet(" / "), name) if with_source else name


def _share(share: float, largest: float) -> Cell:
    return (percent(share), Bar(share / largest)) if share else Quiet("0")


def _alone(run: RunTables, names: Sequence[str]) -> Iterator[Block]:
    """Yield the best rows that no other selection has, by method."""
    table = run.table(f"{TABLE}-alone").collect()
    counts = run.table(f"{TABLE}-selections").select("name", "alone").collect()
    alone = dict(counts.iter_rows())
    yield Heading("What each alone chooses")
    for name in names:
        best = table.filter(name=name).head(ALONE)
        if not best.height:
            yield note(Code(name), " chooses no row that no other does.")
            continue
        of_all = f", the {best.height} best" if alone[name] > best.height else ""
        summary = f"{name}: {counted(alone[name], 'row')} in no other selection{of_all}"
        yield Details(summary, (RowList(tuple(map(_alone_item, best.to_dicts())), open=ALONE),))
    yield note(
        "The large number is the rank by the method itself; below it, the best rank that another method "
        "gives the row."
    )


def _alone_item(line: Mapping[str, str | int]) -> Item:
    other = line["elsewhere"]
    facts = (f"{other}: {number(int(line['elsewhere_rank']))}",) if other else ()
    return Item((RowPart(str(line["row_id"]), "Row"),), number(int(line["rank"])), facts)
