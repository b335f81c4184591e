"""Methods compared: what their selections share, how alike they rank, what each alone chooses."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.core.methods import find_method
from curate.core.selector import Selector
from curate.core.selectparams import SelectParams
from curate.report import coverage
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.runs.folder import RunFolder
from curate.selectors.compared import numbered
from curate.selectors.comparison import KEPT

TABLE = "evidence/comparison"
ALONE = 5
GROUPS = 12
# Shades of a cell, from 0 (none) on.
SHADES = 9


@dataclass(frozen=True)
class ExclusiveRow:
    """A row in the selection of one method only, and the best rank that another one gives it."""

    rank: int
    row: RowView
    elsewhere: str | None
    elsewhere_rank: int | None


@dataclass(frozen=True)
class Nearness:
    """How near a selection comes to each target example."""

    similarities: tuple[float, ...]
    mean: float
    missed: int
    gaps: int


@dataclass(frozen=True)
class MethodView:
    """A compared method's selection: `settings` and `plan` hold what is no default or its own."""

    name: str
    method: str
    settings: tuple[tuple[str, Any], ...]
    plan: tuple[str, ...]
    rows: int
    tokens: int | None
    shared: int | None
    alone: int
    examples: tuple[ExclusiveRow, ...]
    nearness: Nearness | None


@dataclass(frozen=True)
class Cell:
    """A number between two selections, with its shade; negative numbers have another colour."""

    value: float | None

    @property
    def shade(self) -> str:
        """Return the class of the cell's colour."""
        if self.value is None or abs(self.value) < 0.5 / SHADES:
            return ""
        return f"{'under' if self.value < 0 else 'heat'}{round(abs(self.value) * SHADES)}"


@dataclass(frozen=True)
class MixGroup:
    """A source or origin in the mix: its share of the kept rows and of each selection."""

    source: str
    origin: str | None
    kept: float
    shares: tuple[float, ...]


@dataclass(frozen=True)
class Mixes:
    """The largest groups of rows; `count` is the number of all, `by` says what they are."""

    by: str
    groups: tuple[MixGroup, ...]
    count: int


@dataclass(frozen=True)
class MethodComparison:
    """Compared selections, the run's own first, with overlap and rank correlation of each pair."""

    methods: tuple[MethodView, ...]
    jaccard: tuple[tuple[Cell | None, ...], ...]
    correlation: tuple[tuple[Cell | None, ...], ...]
    ranked: tuple[int, int]
    by_chance: tuple[float, float]
    limit: float | None
    mixes: tuple[Mixes, ...]


def gather_comparison(run: RunFolder) -> MethodComparison | None:
    """Return None where the run compares nothing."""
    if not run.has(f"{TABLE}-overlap"):
        return None
    overlap = run.table(f"{TABLE}-overlap").collect()
    methods = tuple(_methods(run, overlap))
    names = [method.name for method in methods]
    ranges = overlap.select(
        pl.min("ranked").alias("least"), pl.max("ranked").alias("most"),
        low=pl.min("by_chance"), high=pl.max("by_chance"),
    ).row(0)  # fmt: skip
    near = run.table(coverage.TABLE).collect() if run.has(coverage.TABLE) else None
    return MethodComparison(
        methods=methods,
        jaccard=_matrix(overlap, names, "jaccard"),
        correlation=_matrix(overlap, names, "correlation"),
        ranked=ranges[:2],
        by_chance=ranges[2:],
        limit=None if near is None else near["limit"][0],
        mixes=tuple(_mixes(run.table(f"{TABLE}-mix").collect(), names)),
    )


def _matrix(
    overlap: pl.DataFrame, names: Sequence[str], column: str
) -> tuple[tuple[Cell | None, ...], ...]:
    values_by_pair: dict[frozenset[str], float | None] = {
        frozenset((one, other)): value
        for one, other, value in overlap.select("one", "other", column).iter_rows()
    }
    return tuple(
        tuple(
            None if one == other else Cell(values_by_pair[frozenset((one, other))])
            for other in names
        )
        for one in names
    )


def _methods(run: RunFolder, overlap: pl.DataFrame) -> Iterator[MethodView]:
    config = run.manifest["config"]
    names = numbered([params["method"] for params in (config["select"], *config["compare"])])
    selects = [run.own_select, *config["compare"]]
    counts = {line["name"]: line for line in run.table(f"{TABLE}-selections").collect().to_dicts()}
    shared = dict(overlap.filter(one=names[0]).select("other", "shared").iter_rows())
    alone = run.table(f"{TABLE}-alone").collect().group_by("name", maintain_order=True).head(ALONE)
    rows = read_rows(run, set(alone["row_id"]))
    near = dict(_nearness(run))
    for name, params in zip(names, selects, strict=True):
        exclusive_rows = alone.filter(name=name).to_dicts()
        yield MethodView(
            name=name,
            method=params["method"],
            settings=tuple(_settings(params)),
            plan=tuple(k for k in SelectParams.model_fields if params.get(k) != selects[0].get(k)),
            rows=counts[name]["rows"],
            tokens=counts[name]["tokens"],
            shared=shared.get(name),
            alone=counts[name]["alone"],
            examples=tuple(_alone(line, rows) for line in exclusive_rows),
            nearness=near.get(name),
        )


def _settings(params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the method's own parameters that differ from their defaults."""
    fields = find_method(Selector, params["method"]).model_fields
    for key, value in params.items():
        own = key in fields and key not in SelectParams.model_fields and key != "method"
        if own and value != fields[key].default:
            yield key, value


def _alone(line: Mapping[str, Any], rows: Rows) -> ExclusiveRow:
    row = show_example(line["row_id"], rows, {}, None)
    return ExclusiveRow(line["rank"], row, line["elsewhere"], line["elsewhere_rank"])


def _nearness(run: RunFolder) -> Iterator[tuple[str, Nearness]]:
    if not run.has(coverage.TABLE):
        return
    table = run.table(coverage.TABLE).select("name", "similarity", "state").collect()
    for (name,), group in table.group_by("name", maintain_order=True):
        values = tuple(group["similarity"].sort())
        missed, gaps = (group.filter(state=state).height for state in ("missed", "gap"))
        yield str(name), Nearness(values, sum(values) / len(values), missed, gaps)


def _mixes(mix: pl.DataFrame, names: Sequence[str]) -> Iterator[Mixes]:
    """Yield the mix by source and by origin, each unless all rows are of one."""
    by_source = mix.group_by("name", "source").agg(pl.sum("rows")).with_columns(origin=None)
    for by, counted in (("source", by_source), ("origin", mix)):
        shares = counted.with_columns(share=pl.col("rows") / pl.sum("rows").over("name"))
        shares_by_group: dict[tuple[str, str | None], dict[str, float]] = {}
        for source, origin, name, share in shares.select(
            "source", "origin", "name", "share"
        ).iter_rows():
            shares_by_group.setdefault((source, origin), {})[name] = share
        if len(shares_by_group) > 1:
            yield Mixes(by, tuple(_largest(shares_by_group, names)), len(shares_by_group))


def _largest(
    shares_by_group: Mapping[tuple[str, str | None], Mapping[str, float]], names: Sequence[str]
) -> list[MixGroup]:
    """Return the groups with the largest share of any selection or of the kept rows."""
    order = sorted(
        shares_by_group, key=lambda key: (-max(shares_by_group[key].values()), key[0], key[1] or "")
    )
    groups = [
        MixGroup(
            *key,
            shares_by_group[key].get(KEPT, 0.0),
            tuple(shares_by_group[key].get(name, 0.0) for name in names),
        )
        for key in order[:GROUPS]
    ]
    return sorted(groups, key=lambda group: (-group.shares[0], -group.kept, group.source))
