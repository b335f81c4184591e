"""Made rows: what each generation method kept and paid, why the others went, and what became of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import polars as pl

from curate.generate.candidates import pair
from curate.generate.outcome import CANDIDATES, MethodOutcome, outcomes_of, read_bill
from curate.report.examples import RowView, read_rows, show_example
from curate.report.growth import Growth, gather_growth, guides_of
from curate.report.texts import show_row
from curate.runs.folder import RunFolder

KEPT, PARENTS = 4, 2
REASONS, DROPPED = 4, 3


@dataclass(frozen=True)
class EngineView:
    """The engine that wrote the rows; `facts` are revision, dtype and weights of its model."""

    name: str
    kind: str
    servers: int
    facts: tuple[tuple[str, str], ...]
    structured: str | None


@dataclass(frozen=True)
class FateCounts:
    """Numbers of rows by their fate in the run."""

    rows: int
    dropped: int
    not_selected: int
    selected: int


@dataclass(frozen=True)
class GeneratedRow:
    """A generated row with its parents (`more` are not in the list) and its fate."""

    row: RowView
    hop: int
    guides: tuple[str, ...]
    fate: str
    stage: str
    rank: int | None
    parents: tuple[RowView, ...]
    more: int


@dataclass(frozen=True)
class RejectedCandidate:
    """A generated candidate that a filter rejected."""

    row: RowView
    guides: tuple[str, ...]
    detail: str


@dataclass(frozen=True)
class RejectGroup:
    """A reject reason of a method with its `count` of candidates, and some of them."""

    reason: str
    count: int
    examples: tuple[RejectedCandidate, ...]


@dataclass(frozen=True)
class GenerationMethod:
    """A generation method: counts and costs, fates of its rows, its hops and tree, and examples."""

    outcome: MethodOutcome
    fates: FateCounts
    growth: Growth | None
    kept: tuple[GeneratedRow, ...]
    rejects: tuple[RejectGroup, ...]


@dataclass(frozen=True)
class GenerationView:
    """All generation methods in their order; `read` are the fates of the rows of the pool files."""

    engine: EngineView
    methods: tuple[GenerationMethod, ...]
    generated_fates: FateCounts
    read: FateCounts

    @property
    def candidates(self) -> int:
        """Return how many candidates there were."""
        return sum(method.outcome.generated for method in self.methods)


def gather_generated(run: RunFolder) -> GenerationView | None:
    """Return None where the run made no rows."""
    bill = read_bill(run.path)
    if bill is None or not run.has(CANDIDATES):
        return None
    config = run.manifest["config"]
    method_names = [params["method"] for params in config["generate"]["methods"]]
    candidates = run.table(CANDIDATES).with_row_index("at")
    fates = _fates_by_method(run)
    nothing = FateCounts(0, 0, 0, 0)
    methods = tuple(
        GenerationMethod(
            outcome=outcome,
            fates=fates.get(outcome.method, nothing),
            growth=gather_growth(run, outcome.method),
            kept=tuple(_kept(run, candidates.filter(method=outcome.method))),
            rejects=tuple(_reject_groups(candidates.filter(method=outcome.method), outcome)),
        )
        for outcome in outcomes_of(bill, method_names)
    )
    generated_fates = [fates[name] for name in method_names if name in fates]
    return GenerationView(
        _engine(bill, config), methods, _sum(generated_fates), fates.get(None, nothing)
    )


def _engine(bill: Mapping[str, Any], config: Mapping[str, Any]) -> EngineView:
    settings, identity = config["generate"]["engine"], bill["engine"]
    facts = {name: identity.get(name) for name in ("revision", "dtype", "weights")}
    return EngineView(
        name=str(identity.get("model") or settings["model"] or config["models"]["base"]),
        kind=str(identity["engine"]),
        servers=len(settings.get("endpoints", ())),
        facts=tuple((name, str(value)[:12]) for name, value in facts.items() if value),
        structured=bill["structured"],
    )


def _fates_by_method(run: RunFolder) -> dict[str | None, FateCounts]:
    """Return what became of each method's rows, and under None of those that were read."""
    methods = run.table(CANDIDATES).filter(pl.col("flaw").is_null()).select("row_id", "method")
    counted = (
        run.table("ledger")
        .select("row_id", "fate")
        .join(methods.unique("row_id"), on="row_id", how="left")
        .group_by("method")
        .agg(
            pl.len().cast(pl.Int64),
            *(pl.col("fate").eq(fate).sum().cast(pl.Int64).alias(fate)
              for fate in ("dropped", "not_selected", "selected")),
        )
        .collect()
    )  # fmt: skip
    return {method: FateCounts(*numbers) for method, *numbers in counted.iter_rows()}


def _sum(parts: Sequence[FateCounts]) -> FateCounts:
    return FateCounts(
        sum(part.rows for part in parts),
        sum(part.dropped for part in parts),
        sum(part.not_selected for part in parts),
        sum(part.selected for part in parts),
    )


def _spread(table: pl.LazyFrame, count: int) -> list[dict[str, Any]]:
    """Return so many lines at even distances, or all if there are fewer."""
    size = int(table.select(pl.len()).collect().item())
    places = [i * size // count for i in range(count)] if size > count else range(size)
    return table.collect()[list(places)].to_dicts() if size else []


def _kept(run: RunFolder, candidates: pl.LazyFrame) -> Iterator[GeneratedRow]:
    """Yield some kept rows of a method with what they were made from."""
    examples = _spread(candidates.filter(pl.col("flaw").is_null()), KEPT)
    parents = {name for line in examples for name in line["parents"][:PARENTS]}
    ids = [line["row_id"] for line in examples]
    ledger_lines = run.table("ledger").filter(pl.col("row_id").is_in(ids)).collect()
    ledger = {line["row_id"]: line for line in ledger_lines.to_dicts()}
    rows = read_rows(run, parents)
    generated_parents = {
        name: RowView(name, "made", None, None, show_row(pair(prompt, response)))
        for name, prompt, response in run.table(CANDIDATES)
        .filter(pl.col("row_id").is_in(sorted(parents)), pl.col("flaw").is_null())
        .select("row_id", "prompt", "response")
        .collect()
        .iter_rows()
    }
    for line in examples:
        fate = ledger[line["row_id"]]
        yield GeneratedRow(
            row=_candidate_view(line),
            hop=line["hop"],
            guides=guides_of(orjson.loads(line["notes"])),
            fate=fate["fate"],
            stage=fate["stage"],
            rank=fate["rank"],
            parents=tuple(
                generated_parents.get(name) or show_example(name, rows, {}, None)
                for name in line["parents"][:PARENTS]
            ),
            more=max(len(line["parents"]) - PARENTS, 0),
        )


def _reject_groups(candidates: pl.LazyFrame, outcome: MethodOutcome) -> Iterator[RejectGroup]:
    """Yield the most frequent reasons of a method with some of what went for each."""
    for reason, count in outcome.dropped[:REASONS]:
        examples = _spread(candidates.filter(flaw=reason), DROPPED)
        yield RejectGroup(
            reason,
            count,
            tuple(
                RejectedCandidate(
                    _candidate_view(line), guides_of(orjson.loads(line["notes"])), line["detail"]
                )
                for line in examples
            ),
        )


def _candidate_view(line: Mapping[str, Any]) -> RowView:
    text = show_row(pair(line["prompt"], line["response"]))
    return RowView(line["row_id"], "made", None, None, text)
