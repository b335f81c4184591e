"""Duplicates: what each stage merged, and where its limit lies.

Tables of pairs can have millions of lines: they are counted and searched lazily, and texts are read
for the few rows that the page shows.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.rows import prompt_text
from curate.core.stage import with_method
from curate.report.conflicts import Conflicts, gather_conflicts
from curate.report.differences import VIEW_CHARS, Side, show_sides
from curate.report.differing import ContrastingPairs, example_pairs, gather_differing
from curate.report.examples import Rows, read_rows
from curate.runs.folder import RunFolder
from curate.runs.rethreshold import find_rethresholdable, stage_data, sweep
from curate.selectors.compared import numbered

KINDS = ("exact", "fuzzy", "semantic")
BORDER = 3
CLUSTERS, CLUSTER_ROWS = 5, 3
CLUSTER_CHARS = 350
TITLE_CHARS = 120
# Similarities closer than this are one and the same, written and read.
SAME = 1e-9
# Points of a curve; each is one pass over all pairs, which takes a second for 700,000 of them.
POINTS = (41, 21, 9, 5)
TABLE_POINTS = 9
PASSED_PAIRS = 5_000_000

Lines = list[dict[str, Any]]


@dataclass(frozen=True)
class ThresholdCurve:
    """How many rows each threshold would drop."""

    thresholds: tuple[float, ...]
    dropped: tuple[int, ...]

    def near(self, limit: float) -> float:
        """Return the first threshold in the table above a limit, or the last one."""
        return next((at for at, _ in self.table_points if at > limit), self.thresholds[-1])

    @property
    def table_points(self) -> list[tuple[float, int]]:
        """Return TABLE_POINTS of the points or a few more, at even distances."""
        points = list(zip(self.thresholds, self.dropped, strict=True))
        return points[:: max((len(points) - 1) // (TABLE_POINTS - 1), 1)]


@dataclass(frozen=True)
class DuplicatePair:
    """A row and the kept row that it is most similar to."""

    kept: bool
    similarity: float
    row: Side
    nearest: Side


@dataclass(frozen=True)
class Cluster:
    """A kept row and the least similar of the rows dropped for it; `size` counts all of them.

    `title` is the start of the kept row's text; it is empty if the store no longer has it.
    """

    size: int
    title: str
    survivor: Side
    duplicates: tuple[DuplicatePair, ...]


@dataclass(frozen=True)
class Merger:
    """Settings and result of a stage of deduplication; `limit` is the similarity that drops."""

    stage: str
    params: Mapping[str, Any]
    limit: float
    read: int
    dropped: int
    clusters: int


@dataclass(frozen=True)
class DuplicateStage:
    """A stage of deduplication; `floor` is None, and there is no border, where it stores no pairs."""

    merger: Merger
    floor: float | None
    curve: ThresholdCurve | None
    border: tuple[DuplicatePair, ...]
    largest: tuple[Cluster, ...]
    conflicts: Conflicts | None
    differing: ContrastingPairs | None

    @property
    def table_points(self) -> list[tuple[float, int]]:
        """Return points of the curve, and in their order what the run did."""
        own = self.merger.limit, self.merger.dropped
        others = (
            [point for point in self.curve.table_points if point[0] != own[0]] if self.curve else []
        )
        return sorted([*others, own])


def stages_of(run: RunFolder, kinds: Iterable[str]) -> dict[str, Mapping[str, Any]]:
    """Return the parameters of the run's stages of these kinds, by name, if their verdicts are there."""
    config = run.manifest["config"]
    stages = [_with_embedder(with_method(one), config) for one in config.get("stages", [])]
    names = numbered([params["method"] for params in stages])
    return {
        name: params
        for name, params in zip(names, stages, strict=True)
        if params["method"] in kinds and run.has(f"evidence/{name}")
    }


def _with_embedder(params: Mapping[str, Any], config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a stage's parameters with the run's embedder where it names none of its own."""
    if params.get("embedder", "") is not None:
        return params
    return {**params, "embedder": config["models"]["embedder"]}


def gather_duplicates(run: RunFolder) -> tuple[DuplicateStage, ...]:
    """Return the run's stages of deduplication in their order."""
    stages = [_find(run, name, params) for name, params in stages_of(run, KINDS).items()]
    near = [example_pairs(run, merger.stage) for merger, _, _ in stages]
    lines = [line for _, border, cluster_lines in stages for line in (*border, *cluster_lines)]
    lines += [line for pairs in near if pairs is not None for line in pairs.to_dicts()]
    keys = ("row_id", "duplicate_of", "other_id")
    rows = read_rows(run, {line[key] for line in lines for key in keys if key in line})
    return tuple(_level(run, *one, pairs, rows) for one, pairs in zip(stages, near, strict=True))


def _find(run: RunFolder, stage: str, params: Mapping[str, Any]) -> tuple[Merger, Lines, Lines]:
    """Return a stage's figures, and its lines of evidence for the border and the largest clusters."""
    evidence = run.table(f"evidence/{stage}").with_row_index("at")
    drops = evidence.filter(~pl.col("keep"))
    facts = evidence.select(
        limit=pl.col("threshold").max(), read=pl.len(), dropped=(~pl.col("keep")).sum()
    )
    limit, read, dropped = facts.collect().row(0)
    sizes = (
        drops.group_by("duplicate_of").agg(size=pl.len() + 1, first=pl.col("at").min()).collect()
    )
    merger = Merger(stage, params, limit or 1.0, read, dropped, sizes.height)
    border: Lines = []
    if run.has(f"evidence/{stage}-pairs"):
        low = drops.bottom_k(BORDER, by=["score", "at"]).collect()
        border = [*low.sort("score", "at", descending=[True, False]).to_dicts(), *_kept(run, stage)]
    top = sizes.sort("size", "first", descending=[True, False]).head(CLUSTERS)
    nearest = pl.int_range(pl.len()).over("duplicate_of", order_by=["score", "at"])
    cluster_lines = (
        drops.join(top.lazy(), on="duplicate_of")
        .filter(nearest < CLUSTER_ROWS)
        .sort("size", "first", "score", "at", descending=[True, False, False, False])
    )
    return merger, border, cluster_lines.collect().to_dicts()


def _kept(run: RunFolder, stage: str) -> Lines:
    """Return the most similar pairs of kept rows, the most similar one first."""
    evidence = run.table(f"evidence/{stage}").with_row_index("at")
    kept = evidence.filter(pl.col("keep") & (pl.col("score") > 0))
    # A pair can stand for both of its rows, so twice as many rows give enough pairs.
    top = kept.sort("score", "at", descending=[True, False]).head(2 * BORDER).collect()
    nearest_by_id = _nearest_kept(run, stage, top)
    pairs: dict[frozenset[str], dict[str, Any]] = {}
    for line in top.to_dicts():
        nearest_id = nearest_by_id.get(line["row_id"])
        if nearest_id is not None:
            pairs.setdefault(
                frozenset((line["row_id"], nearest_id)), {**line, "duplicate_of": nearest_id}
            )
    return list(pairs.values())[:BORDER]


def _nearest_kept(run: RunFolder, stage: str, rows: pl.DataFrame) -> dict[str, str]:
    """Return for kept rows the kept row that their score is the similarity to.

    Pairs are stored for the first of rows that are the same, which need not be the one that is kept:
    on both sides, a copy stands for the row that it was dropped for.
    """
    evidence = run.table(f"evidence/{stage}").select("row_id", "keep", "score", "duplicate_of")
    copies = evidence.filter(~pl.col("keep") & (pl.col("score") >= 1))
    scores = rows.lazy().select(kept="row_id", value="score")
    own = copies.select(kept="duplicate_of", member="row_id").join(scores, on="kept")
    members = pl.concat([scores.with_columns(member="kept").select("kept", "member", "value"), own])
    pairs = run.table(f"evidence/{stage}-pairs").select("row_id", "other_id", "similarity")
    ends = [
        pairs.select("similarity", member=one, other=other)
        for one, other in (("row_id", "other_id"), ("other_id", "row_id"))
    ]
    near = (
        pl.concat(ends)
        .join(members, on="member")
        .filter((pl.col("similarity") - pl.col("value")).abs() < SAME)
        .join(evidence, left_on="other", right_on="row_id")
    )
    stands_for = pl.when("keep").then("other").when(pl.col("score") >= 1).then("duplicate_of")
    nearest = near.select("kept", twin=stands_for).filter(pl.col("twin") != pl.col("kept"))
    return dict(nearest.sort("kept", "twin", descending=True).collect().iter_rows())


def _level(
    run: RunFolder,
    merger: Merger,
    border: Lines,
    cluster_lines: Lines,
    differing: pl.DataFrame | None,
    rows: Rows,
) -> DuplicateStage:
    has_pairs = run.has(f"evidence/{merger.stage}-pairs")
    return DuplicateStage(
        merger=merger,
        floor=merger.params.get("floor") if has_pairs else None,
        curve=_curve(run, merger.stage) if has_pairs else None,
        border=tuple(_pair(line, rows) for line in border),
        largest=tuple(_clusters(cluster_lines, rows)),
        conflicts=gather_conflicts(run, merger.stage),
        differing=gather_differing(run, merger.stage, differing, rows),
    )


def _pair(line: Mapping[str, Any], rows: Rows, chars: int = VIEW_CHARS) -> DuplicatePair:
    return DuplicatePair(
        line["keep"], line["score"], *show_sides(line["row_id"], line["duplicate_of"], rows, chars)
    )


def _clusters(lines: Lines, rows: Rows) -> Iterator[Cluster]:
    for survivor_id, group in groupby(lines, key=itemgetter("duplicate_of")):
        members = list(group)
        pairs = tuple(_pair(line, rows, CLUSTER_CHARS) for line in members)
        survivor, _ = show_sides(survivor_id, survivor_id, rows)
        _, row = rows.get(survivor_id, ("", {}))
        text = prompt_text(row["messages"]) if row else ""
        title = " ".join(text[:TITLE_CHARS].split()) + ("…" if len(text) > TITLE_CHARS else "")
        yield Cluster(members[0]["size"], title, survivor, pairs)


def _curve(run: RunFolder, stage: str) -> ThresholdCurve | None:
    """Return None where no threshold can be tried: no pool in the store, or a recipe of old."""
    try:
        judge = find_rethresholdable(run, stage)
        data = stage_data(run, stage)
    except (UserError, ValidationError):
        return None
    if getattr(judge, "floor", 1.0) >= 1:
        return None
    pairs = run.table(f"evidence/{stage}-pairs").select(pl.len()).collect().item()
    points = next((n for n in POINTS if n * pairs <= PASSED_PAIRS), POINTS[-1])
    table = sweep(data, judge, points)
    return ThresholdCurve(tuple(table["threshold"]), tuple(table["dropped"]))
