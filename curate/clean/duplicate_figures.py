"""What a stage of deduplication merged, counted from its evidence, and where its limit lies.

Tables of pairs can have millions of lines: they are counted and searched lazily.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import polars as pl

from curate.clean.differing import differing_pairs
from curate.core.runrecord import StageRecord

BORDER = 3
CLUSTERS, CLUSTER_ROWS = 5, 3
PROMPTS, ANSWERS = 10, 4
MOST_PAIRS = 4
CONTRADICTIONS = "contradictions"
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

    row_id: str
    nearest_id: str
    similarity: float
    kept: bool


@dataclass(frozen=True)
class Cluster:
    """A kept row and the least similar of the rows dropped for it; `size` counts all of them."""

    survivor_id: str
    size: int
    duplicates: tuple[DuplicatePair, ...]


@dataclass(frozen=True)
class DuplicateFigures:
    """What a stage of deduplication did: rows read and dropped, the similarity that drops, clusters."""

    read: int
    dropped: int
    limit: float
    clusters: int
    largest: tuple[Cluster, ...]


@dataclass(frozen=True)
class Conflict:
    """A prompt that repeats with different answers: how many, and the first rows that have them."""

    answers: int
    row_ids: tuple[str, ...]


@dataclass(frozen=True)
class Conflicts:
    """How many prompts repeat with different answers, in how many rows; those with most answers."""

    prompts: int
    rows: int
    largest: tuple[Conflict, ...]


@dataclass(frozen=True)
class Contradictions:
    """How many pairs of rows reject what the other chooses, how many rows do so themselves.

    examples: the first of the former.
    """

    opposed: int
    undecided: int
    examples: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class ContrastingPair:
    """Two kept rows with similar texts, and what of them differs."""

    row_id: str
    other_id: str
    similarity: float
    differs: str


@dataclass(frozen=True)
class ContrastingPairs:
    """Near duplicates that were kept: their rows, and the number of pairs by what differs."""

    rows: int
    counts: dict[str, int]
    examples: tuple[ContrastingPair, ...]


def duplicate_figures(record: StageRecord) -> DuplicateFigures:
    """Return the figures of a stage with its largest clusters."""
    evidence = record.evidence().with_row_index("at")
    drops = evidence.filter(~pl.col("keep"))
    facts = evidence.select(
        limit=pl.col("threshold").max(), read=pl.len(), dropped=(~pl.col("keep")).sum()
    )
    limit, read, dropped = facts.collect().row(0)
    sizes = drops.group_by("duplicate_of").agg(size=pl.len() + 1, first=pl.col("at").min())
    counted = sizes.collect()
    top = counted.sort("size", "first", descending=[True, False]).head(CLUSTERS)
    nearest = pl.int_range(pl.len()).over("duplicate_of", order_by=["score", "at"])
    lines = (
        drops.join(top.lazy(), on="duplicate_of")
        .filter(nearest < CLUSTER_ROWS)
        .sort("size", "first", "score", "at", descending=[True, False, False, False])
    )
    largest = tuple(_clusters(lines.collect().to_dicts()))
    return DuplicateFigures(read, dropped, limit or 1.0, counted.height, largest)


def _clusters(lines: Lines) -> Iterator[Cluster]:
    for survivor_id, group in groupby(lines, key=itemgetter("duplicate_of")):
        members = list(group)
        yield Cluster(survivor_id, members[0]["size"], tuple(map(_pair, members)))


def _pair(line: dict[str, Any]) -> DuplicatePair:
    return DuplicatePair(line["row_id"], line["duplicate_of"], line["score"], line["keep"])


def border_pairs(record: StageRecord) -> tuple[DuplicatePair, ...]:
    """Return the least similar rows that were dropped, then the most similar pairs that were kept."""
    drops = record.evidence().with_row_index("at").filter(~pl.col("keep"))
    low = drops.bottom_k(BORDER, by=["score", "at"]).collect()
    lines = low.sort("score", "at", descending=[True, False]).to_dicts()
    return (*map(_pair, lines), *_kept_pairs(record))


def _kept_pairs(record: StageRecord) -> list[DuplicatePair]:
    """Return the most similar pairs of kept rows, the most similar one first."""
    kept = record.evidence().with_row_index("at").filter(pl.col("keep") & (pl.col("score") > 0))
    # A pair can stand for both of its rows, so twice as many rows give enough pairs.
    top = kept.sort("score", "at", descending=[True, False]).head(2 * BORDER).collect()
    nearest_by_id = _nearest_kept(record, top)
    pairs: dict[frozenset[str], DuplicatePair] = {}
    for row_id, score in top.select("row_id", "score").iter_rows():
        nearest_id = nearest_by_id.get(row_id)
        if nearest_id is not None:
            pair = DuplicatePair(row_id, nearest_id, score, kept=True)
            pairs.setdefault(frozenset((row_id, nearest_id)), pair)
    return list(pairs.values())[:BORDER]


def _nearest_kept(record: StageRecord, rows: pl.DataFrame) -> dict[str, str]:
    """Return for kept rows the kept row that their score is the similarity to.

    Pairs are stored for the first of rows that are the same, which need not be the one that is kept:
    on both sides, a copy stands for the row that it was dropped for.
    """
    evidence = record.evidence().select("row_id", "keep", "score", "duplicate_of")
    copies = evidence.filter(~pl.col("keep") & (pl.col("score") >= 1))
    scores = rows.lazy().select(kept="row_id", value="score")
    own = copies.select(kept="duplicate_of", member="row_id").join(scores, on="kept")
    members = pl.concat([scores.with_columns(member="kept").select("kept", "member", "value"), own])
    pairs = record.table("pairs").select("row_id", "other_id", "similarity")
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


def threshold_curve(record: StageRecord) -> ThresholdCurve | None:
    """Return None where no threshold can be tried: no pool in the store, or a recipe of old."""
    pairs = record.table("pairs").select(pl.len()).collect().item()
    points = next((n for n in POINTS if n * pairs <= PASSED_PAIRS), POINTS[-1])
    table = record.sweep(points)
    if table is None:
        return None
    return ThresholdCurve(tuple(table["threshold"]), tuple(table["dropped"]))


def find_contrasting(record: StageRecord) -> ContrastingPairs | None:
    """Return kept rows whose texts are similar but for a guard (curate.clean.guards), None of none.

    The examples are the most similar pairs of each thing that differs.
    """
    pairs = differing_pairs(record.run, record.name)
    if pairs is None:
        return None
    examples = pairs.group_by("differs", maintain_order=True).head(MOST_PAIRS).collect()
    if not examples.height:
        return None
    counts = pairs.group_by("differs").len().sort("len", "differs", descending=[True, False])
    ids = pl.concat([pairs.select("row_id"), pairs.select(row_id="other_id")])
    columns = "row_id", "other_id", "similarity", "differs"
    return ContrastingPairs(
        rows=ids.select(pl.col("row_id").n_unique()).collect().item(),
        counts=dict(counts.collect().iter_rows()),
        examples=tuple(ContrastingPair(*line) for line in examples.select(columns).iter_rows()),
    )


def conflicts_of(record: StageRecord) -> Conflicts | None:
    """Return None if the stage looked for no conflicts or found none."""
    if not record.has("conflicts"):
        return None
    prompt = pl.coalesce("other_id", "row_id").alias("prompt")
    conflicts = (
        record.table("conflicts")
        .with_row_index("at")
        .group_by(prompt)
        .agg(pl.col("answers").first(), pl.col("at").min(), ids=pl.col("row_id").sort_by("at"))
        .sort("answers", "at", descending=[True, False])
        .collect()
    )
    if not conflicts.height:
        return None
    largest = conflicts.head(PROMPTS).select("answers", "ids").iter_rows()
    return Conflicts(
        prompts=conflicts.height,
        rows=int(conflicts["ids"].list.len().sum()),
        largest=tuple(Conflict(answers, tuple(ids[:ANSWERS])) for answers, ids in largest),
    )


def contradictions_of(record: StageRecord) -> Contradictions | None:
    """Return None if the stage found no preference pairs that contradict each other or themselves."""
    if not record.has(CONTRADICTIONS):
        return None
    table = record.table(CONTRADICTIONS).collect()
    opposed = table.filter(pl.col("row_id") != pl.col("other_id"))
    if not table.height:
        return None
    examples = tuple(opposed.head(MOST_PAIRS).iter_rows())
    return Contradictions(opposed.height, table.height - opposed.height, examples)
