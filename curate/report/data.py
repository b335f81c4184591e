"""Everything that the report tells, gathered from a run folder into plain values.

Whole tables are only counted; texts are read for the rows that the page shows and for no others.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl

from curate.folder import RunFolder, open_run
from curate.report.examples import Examples, gather_examples
from curate.report.texts import RowText, show_row

SHOWN_ORIGINS = 200
CHARTED = 15
BINS = 32
SHOWN_TARGETS = 200
# Below this many seeds, redrawing them says little of how far other seeds would lie apart.
FEW_SEEDS = 5


@dataclass(frozen=True)
class Metric:
    """An arm's mean of one metric, and its value for every seed."""

    name: str
    mean: float
    by_seed: tuple[float, ...]


@dataclass(frozen=True)
class Arm:
    """A training set of the proof; rows, tokens and steps are listed by seed."""

    name: str
    rows: tuple[int, ...]
    tokens: tuple[int, ...]
    steps: tuple[int, ...]
    metrics: tuple[Metric, ...]


@dataclass(frozen=True)
class Comparison:
    """The selection against one control: positive differences mean that the selection is better."""

    control: str
    metric: str
    unit: str
    mean: float
    low: float
    high: float
    by_seed: tuple[float, ...]
    share_better: float
    verdict: str


@dataclass(frozen=True)
class Leak:
    """A training row or target example that holds an eval prompt."""

    row_id: str
    eval_id: str
    place: str
    coverage: float
    shared: str


@dataclass(frozen=True)
class Proof:
    """What proof.json says; `arms` and `comparisons` are empty where the proof was refused."""

    verdict: str
    sentence: str
    metric: str | None
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    eval_examples: int
    too_long: int
    seeds: int
    resamples: int
    leaking: Mapping[str, int]
    leaks: tuple[Leak, ...]

    @property
    def metrics(self) -> tuple[str, ...]:
        """Return the names of the compared metrics, the deciding one first."""
        return tuple(dict.fromkeys(c.metric for c in self.comparisons))

    @property
    def few_seeds(self) -> bool:
        """Return whether the seeds are too few to show how far seeds lie apart."""
        return self.seeds < FEW_SEEDS


@dataclass(frozen=True)
class FunnelStep:
    """A step that rows can leave the run at: how many leave, by reason, and how many remain."""

    stage: str
    left: tuple[tuple[str, int], ...]
    remaining: int

    @property
    def removed(self) -> int:
        """Return how many rows leave here."""
        return sum(count for _, count in self.left)


@dataclass(frozen=True)
class Funnel:
    """The way from records to the selection; `steps` are reading, stages and selection."""

    records: int
    steps: tuple[FunnelStep, ...]

    @property
    def rows(self) -> int:
        """Return how many records became rows."""
        return self.steps[0].remaining

    @property
    def kept(self) -> int:
        """Return how many rows the selection chose from."""
        return self.steps[-2].remaining

    @property
    def selected(self) -> int:
        """Return how many rows were selected."""
        return self.steps[-1].remaining


@dataclass(frozen=True)
class MixLine:
    """A source, or an origin within one, in the pool and in the selection; shares are 0 to 1."""

    source: str
    origin: str | None
    pool: int
    selected: int
    pool_share: float
    selected_share: float

    @property
    def ratio(self) -> float | None:
        """Return how many times as frequent it is in the selection as in the pool."""
        return self.selected_share / self.pool_share if self.pool_share else None


@dataclass(frozen=True)
class Lengths:
    """How long rows are: tokens at the quantiles 0.1, 0.5 and 0.9, their mean and their sum."""

    low: float
    median: float
    high: float
    mean: float
    total: int


@dataclass(frozen=True)
class Mix:
    """What pool and selection are made of. `origins` is the head of a list of `origin_count`."""

    sources: tuple[MixLine, ...]
    origins: tuple[MixLine, ...]
    origin_count: int
    charted: tuple[MixLine, ...]
    others: MixLine | None
    kept_lengths: Lengths
    selected_lengths: Lengths


@dataclass(frozen=True)
class Bin:
    """A range of scores, and how many rows lie in it."""

    low: float
    high: float
    selected: int
    not_selected: int


@dataclass(frozen=True)
class Scores:
    """How the scores are spread. `cut` is the lowest score that was selected."""

    bins: tuple[Bin, ...]
    cut: float
    selected: int
    not_selected: int
    passed_over: int
    takes_turns: bool


@dataclass(frozen=True)
class Covered:
    """A target example: the selected rows nearest to it, and its best similarity to any of them."""

    row_id: str
    rows: int
    best: float | None
    best_in_pool: float | None
    text: RowText | None


@dataclass(frozen=True)
class Coverage:
    """All target examples, the thinnest covered first; `examples` holds the first of `count`."""

    examples: tuple[Covered, ...]
    count: int
    uncovered: int


@dataclass(frozen=True)
class Cost:
    """What a stage cost; seconds and memory are those of its making, also where it was reused."""

    stage: str
    rows_in: int | None
    rows_out: int | None
    seconds: float
    share: float
    peak_memory_mb: float
    made: int
    reused: int
    tokens: int | None
    calls: int
    generated: int
    price: float


@dataclass(frozen=True)
class Report:
    """The page's whole content."""

    manifest: Mapping[str, Any]
    select: Mapping[str, Any]
    proof: Proof | None
    funnel: Funnel
    mix: Mix
    scores: Scores | None
    coverage: Coverage | None
    examples: Examples
    costs: tuple[Cost, ...]


def gather(path: Path) -> Report:
    """Return what the report of a finished run says.

    Raises:
        UserError: the folder is no finished run.
        ValueError: the run's tables contradict each other.
    """
    run = open_run(path)
    select = dict(run.manifest["config"]["select"])
    scores = _gather_scores(run, select)
    return Report(
        manifest=run.manifest,
        select=select,
        proof=read_proof(path / "proof.json"),
        funnel=_gather_funnel(run),
        mix=_gather_mix(run),
        scores=scores,
        coverage=_gather_coverage(run) if scores else None,
        examples=gather_examples(run),
        costs=tuple(_costs(run.manifest["stages"])),
    )


def read_proof(path: Path) -> Proof | None:
    """Return what a proof.json says, None if there is none."""
    if not path.is_file():
        return None
    told = orjson.loads(path.read_bytes())
    settings, leaks = told["settings"], told["leaks"]
    return Proof(
        verdict=told["verdict"],
        sentence=told["sentence"],
        metric=told.get("metric"),
        arms=tuple(_arm(arm) for arm in told.get("arms", [])),
        comparisons=tuple(_comparison(c) for c in told.get("comparisons", [])),
        eval_examples=told.get("eval_examples", 0),
        too_long=told.get("eval_examples_too_long", 0),
        seeds=settings["seeds"],
        resamples=settings["resamples"],
        leaking=leaks["leaking_rows"],
        leaks=tuple(
            Leak(hit["row_id"], hit["eval_id"], hit.get("place", ""), hit["coverage"], hit["span"])
            for hit in leaks["examples"]
        ),
    )


def _arm(told: Mapping[str, Any]) -> Arm:
    metrics = (Metric(name, told[name], tuple(seeds)) for name, seeds in told["by_seed"].items())
    return Arm(
        told["arm"],
        tuple(told["rows"]),
        tuple(told["tokens"]),
        tuple(told["steps"]),
        tuple(sorted(metrics, key=lambda metric: metric.name)),
    )


def _comparison(told: Mapping[str, Any]) -> Comparison:
    return Comparison(
        told["control"],
        told["metric"],
        told["unit"],
        told["mean_difference"],
        told["low"],
        told["high"],
        tuple(told["by_seed"]),
        told["share_of_examples_better"],
        told["verdict"],
    )


def _gather_funnel(run: RunFolder) -> Funnel:
    rejected = _count(run.table("rejects"), "reason")
    fates = run.table("ledger").group_by("fate", "stage", "reason").len().collect()
    rows = int(fates["len"].sum())
    steps = [FunnelStep("pool", rejected, rows)]
    for stage in _dropping_stages(run):
        dropped = fates.filter(fate="dropped", stage=stage).lazy()
        left = _count(dropped, "reason", weight="len")
        steps.append(FunnelStep(stage, left, steps[-1].remaining - sum(n for _, n in left)))
    passed = _count(fates.filter(fate="not_selected").lazy(), "reason", weight="len")
    steps.append(FunnelStep("select", passed, int(fates.filter(fate="selected")["len"].sum())))
    funnel = Funnel(rows + steps[0].removed, tuple(steps))
    _check_funnel(run, funnel)
    return funnel


def _dropping_stages(run: RunFolder) -> list[str]:
    """Return the stages that judge rows, in the order in which they ran."""
    return [entry["stage"] for entry in run.manifest["stages"] if "dropped" in entry]


def _count(
    table: pl.LazyFrame, column: str, weight: str | None = None
) -> tuple[tuple[str, int], ...]:
    """Return the values of a column with their numbers of rows, frequent ones first."""
    size = pl.col(weight).sum() if weight else pl.len()
    counted = table.group_by(column).agg(size.cast(pl.Int64).alias("n"))
    return tuple(counted.sort("n", column, descending=[True, False]).collect().iter_rows())


def _check_funnel(run: RunFolder, funnel: Funnel) -> None:
    """Fail if ledger, rejects and manifest count differently: the page would lie."""
    said = {entry["stage"]: entry for entry in run.manifest["stages"]}
    found = [
        ("records", said["pool"]["rows_in"], funnel.records),
        ("rows to choose from", said["select"]["rows_in"], funnel.kept),
        ("rows chosen", said["select"]["rows_out"], funnel.selected),
        ("rows kept and not lost", funnel.kept, funnel.selected + funnel.steps[-1].removed),
        *((f"rows after {s.stage}", said[s.stage]["rows_out"], s.remaining) for s in funnel.steps),
    ]
    for what, wanted, got in found:
        if wanted != got:
            raise ValueError(
                f"{run.path} does not add up: {wanted} {what} by the manifest, {got} by the ledger "
                "and the rejects; run `curate run` again to rebuild the run folder"
            )


def _gather_mix(run: RunFolder) -> Mix:
    chosen = (pl.col("fate") == "selected").sum()
    counted = (
        run.table("ledger")
        .group_by("source", "origin")
        .agg(pool=pl.len().cast(pl.Int64), selected=chosen.cast(pl.Int64))
        .sort("selected", "pool", "source", "origin", descending=[True, True, False, False])
        .collect()
    )
    totals = int(counted["pool"].sum()), int(counted["selected"].sum())
    by_source = counted.group_by("source").agg(pl.col("pool", "selected").sum())
    sources = by_source.sort("selected", "pool", "source", descending=[True, True, False])
    largest = pl.max_horizontal(pl.col("pool") / totals[0], pl.col("selected") / totals[1])
    charted = counted.filter(largest.rank("ordinal", descending=True) <= CHARTED)
    rest = counted.join(charted, on=["source", "origin"], how="anti", nulls_equal=True)
    ranking = run.table("evidence/select")
    others = _mix_line(totals, "", None, int(rest["pool"].sum()), int(rest["selected"].sum()))
    return Mix(
        sources=tuple(_mix_line(totals, s, None, p, n) for s, p, n in sources.iter_rows()),
        origins=tuple(_mix_line(totals, *line) for line in counted.head(SHOWN_ORIGINS).iter_rows()),
        origin_count=counted.height,
        charted=tuple(_mix_line(totals, *line) for line in charted.iter_rows()),
        others=others if rest.height else None,
        kept_lengths=_lengths(ranking),
        selected_lengths=_lengths(ranking.filter("selected")),
    )


def _lengths(ranking: pl.LazyFrame) -> Lengths:
    tokens = pl.col("tokens")
    facts = [tokens.quantile(q).alias(str(q)) for q in (0.1, 0.5, 0.9)]
    return Lengths(*ranking.select(*facts, mean=tokens.mean(), total=tokens.sum()).collect().row(0))


def _mix_line(
    totals: tuple[int, int], source: str, origin: str | None, pool: int, selected: int
) -> MixLine:
    return MixLine(source, origin, pool, selected, pool / totals[0], selected / totals[1])


def _gather_scores(run: RunFolder, select: Mapping[str, Any]) -> Scores | None:
    """Return None for methods that score nothing."""
    finite = pl.col("score").cast(pl.Float64).is_finite()
    ranking = run.table("evidence/select").filter(finite)
    chosen = pl.col("selected")
    low, high, cut, selected, count = (
        ranking.select(
            low=pl.col("score").min().cast(pl.Float64),
            high=pl.col("score").max().cast(pl.Float64),
            cut=pl.col("score").filter(chosen).min().cast(pl.Float64),
            selected=chosen.sum(),
            count=pl.len(),
        )
        .collect()
        .row(0)
    )
    if cut is None:
        return None
    above = ranking.filter(~chosen & (pl.col("score").cast(pl.Float64) > cut)).select(pl.len())
    return Scores(
        bins=_bins(ranking, low, high),
        cut=cut,
        selected=selected,
        not_selected=count - selected,
        passed_over=int(above.collect().item()),
        takes_turns=select.get("combine") == "round_robin",
    )


def _bins(ranking: pl.LazyFrame, low: float, high: float) -> tuple[Bin, ...]:
    step = _round_step((high - low) / BINS) if high > low else max(abs(low), 1.0) / BINS
    first = math.floor(low / step)
    number = (pl.col("score").cast(pl.Float64) / step).floor().cast(pl.Int64) - first
    counted = ranking.group_by(bin=number, chosen="selected").len().sort("bin", "chosen").collect()
    counts = {(at, chosen): n for at, chosen, n in counted.iter_rows()}
    return tuple(
        Bin(
            (first + i) * step,
            (first + i + 1) * step,
            counts.get((i, True), 0),
            counts.get((i, False), 0),
        )
        for i in range(max(at for at, _ in counts) + 1)
    )


def _round_step(step: float) -> float:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that is not below the step."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(power * k for k in (1, 2, 2.5, 5, 10) if power * k >= step)


def _gather_coverage(run: RunFolder) -> Coverage | None:
    """Return None for methods that name no nearest target example."""
    ranking = run.table("evidence/select").filter(pl.col("nearest_id").is_not_null())
    nearest = ranking.group_by("nearest_id").agg(
        rows=pl.col("selected").sum(),
        best=pl.col("score").filter("selected").max(),
        pool=pl.col("score").max(),
    )
    by_id = {i: (n, (best, pool)) for i, n, best, pool in nearest.collect().iter_rows()}
    if not by_id:
        return None
    table = run.rows("target")
    target = None if table is None else table.select("row_id", "messages").collect()
    texts = dict(target.iter_rows()) if target is not None else {}
    similar = dict(_similarities(run, list(texts)))
    examples = []
    for row_id in texts or by_id:
        rows, told = by_id.get(row_id, (0, (None, None)))
        best, in_pool = similar.get(row_id, told)
        text = show_row(texts[row_id]) if row_id in texts else None
        examples.append(Covered(row_id, rows, best, in_pool, text))
    examples.sort(key=lambda e: (e.rows, -math.inf if e.best is None else e.best, e.row_id))
    uncovered = sum(not example.rows for example in examples)
    return Coverage(tuple(examples[:SHOWN_TARGETS]), len(examples), uncovered)


def _similarities(
    run: RunFolder, target_ids: Sequence[str]
) -> Iterator[tuple[str, tuple[float, float]]]:
    """Yield for every target example its best similarity to a selected row and to any kept row."""
    scores = run.table("evidence/scores")
    if not target_ids or "similarities" not in scores.collect_schema():
        return
    chosen = run.table("evidence/select").filter("selected").select("row_id")
    selected = scores.join(chosen, on="row_id", how="semi")
    inside, everywhere = (
        _column_maxima(table.select("similarities"), len(target_ids))
        for table in (selected, scores)
    )
    yield from zip(target_ids, zip(inside, everywhere, strict=True), strict=True)


def _column_maxima(table: pl.LazyFrame, width: int) -> list[float]:
    column = pl.col("similarities")
    maxima = [column.arr.get(i).max().alias(str(i)) for i in range(width)]
    return [float(value) for value in table.select(maxima).collect().row(0)]


def _costs(stages: Sequence[Mapping[str, Any]]) -> Iterator[Cost]:
    total = float(np.sum([entry["seconds"] for entry in stages])) or 1.0
    for entry in stages:
        llm = entry.get("llm", {})
        yield Cost(
            stage=entry["stage"],
            rows_in=entry.get("rows_in"),
            rows_out=entry.get("rows_out"),
            seconds=entry["seconds"],
            share=entry["seconds"] / total,
            peak_memory_mb=entry["peak_memory_mb"],
            made=entry["steps"] - entry["cached"],
            reused=entry["cached"],
            tokens=entry.get("tokens"),
            calls=llm.get("calls", 0),
            generated=llm.get("tokens", 0),
            price=llm.get("cost", 0.0),
        )
