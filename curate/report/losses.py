"""What each source lost: its dropped rows by reason and by stage, as counts and shares of it."""

from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from curate.runs.folder import RunFolder

# A page has room for so many columns of numbers, and for so many lines.
COLUMNS = 6
LINES = 40


@dataclass(frozen=True)
class SourceFates:
    """How many rows of a source, or of an origin, were dropped, passed over and selected.

    name: None for the rows that have no origin, or for `others` taken together.
    """

    name: str | None
    rows: int
    dropped: int
    selected: int
    others: int = 0

    @property
    def dropped_share(self) -> float:
        """Return which share of its rows the stages dropped."""
        return self.dropped / self.rows if self.rows else 0.0

    @property
    def selected_share(self) -> float:
        """Return which share of its rows was selected."""
        return self.selected / self.rows if self.rows else 0.0


@dataclass(frozen=True)
class ReasonLine:
    """The rows that a stage dropped for a reason: of all sources, and of each column."""

    stage: str
    reason: str
    rows: int
    counts: tuple[int, ...]


@dataclass(frozen=True)
class SourceLoss:
    """How many rows of a source each stage dropped."""

    source: SourceFates
    counts: tuple[int, ...]


@dataclass(frozen=True)
class Losses:
    """What the stages dropped, by source, or by origin where all rows have one source.

    by: "source" or "origin". all_rows: all of them together. columns: the largest, the others as one.
    by_stage: a line for each of the largest, of `count`.
    """

    by: str
    all_rows: SourceFates
    columns: tuple[SourceFates, ...]
    reasons: tuple[ReasonLine, ...]
    stages: tuple[str, ...]
    total: SourceLoss
    by_stage: tuple[SourceLoss, ...]
    count: int

    @property
    def highest(self) -> float:
        """Return the largest share of a column that one reason took."""
        return max(
            count / column.rows
            for line in self.reasons
            for count, column in zip(line.counts, self.columns, strict=True)
        )

    @property
    def worst(self) -> SourceFates:
        """Return the source of those with a line that lost the largest share, the largest of such."""
        return max((line.source for line in self.by_stage), key=lambda one: one.dropped_share)

    @property
    def highest_of_stage(self) -> float:
        """Return the largest share of a source that one stage took."""
        return max(count / line.source.rows for line in self.by_stage for count in line.counts)


def gather_losses(run: RunFolder) -> Losses | None:
    """Return None where the stages dropped nothing."""
    keys = ("source", "origin", "fate", "stage", "reason")
    counted = run.table("ledger").group_by(keys).agg(rows=pl.len().cast(pl.Int64)).collect()
    if not counted["fate"].eq("dropped").any():
        return None
    by = "source" if counted["source"].n_unique() > 1 else "origin"
    counted = counted.with_columns(name=pl.col(by))
    named = sum_fates(counted.group_by("name"))
    order = named.sort("rows", "name", descending=[True, False], nulls_last=True)
    fates = [SourceFates(*line) for line in order.iter_rows()]
    columns = _columns(fates)
    stages = _stages(run)
    all_rows = SourceFates(*sum_fates(counted.group_by(name=pl.lit(""))).row(0))
    dropped = counted.filter(fate="dropped")
    return Losses(
        by,
        all_rows,
        columns,
        _reasons(dropped, columns, stages),
        stages,
        SourceLoss(all_rows, _drops(dropped, stages)),
        tuple(
            SourceLoss(one, _drops(dropped.filter(_is_named(one.name)), stages))
            for one in fates[:LINES]
        ),
        len(fates),
    )


def sum_fates(groups: "pl.dataframe.group_by.GroupBy") -> pl.DataFrame:
    """Return name, rows, dropped, selected of each group of counted rows."""
    rows = pl.col("rows")
    return groups.agg(
        rows.sum(),
        dropped=rows.filter(pl.col("fate") == "dropped").sum(),
        selected=rows.filter(pl.col("fate") == "selected").sum(),
    )


def _stages(run: RunFolder) -> tuple[str, ...]:
    """Return the stages that can drop rows, in their order."""
    stages = [entry["stage"] for entry in run.manifest["stages"] if "dropped" in entry]
    return tuple(stage for stage in stages if run.has(f"evidence/{stage}"))


def _columns(fates: Sequence[SourceFates]) -> tuple[SourceFates, ...]:
    if len(fates) <= COLUMNS:
        return tuple(fates)
    rest = fates[COLUMNS - 1 :]
    others = SourceFates(
        None,
        sum(one.rows for one in rest),
        sum(one.dropped for one in rest),
        sum(one.selected for one in rest),
        len(rest),
    )
    return (*fates[: COLUMNS - 1], others)


def _is_named(name: str | None) -> pl.Expr:
    return pl.col("name").eq_missing(pl.lit(name, dtype=pl.String))


def _reasons(
    dropped: pl.DataFrame, columns: Sequence[SourceFates], stages: Sequence[str]
) -> tuple[ReasonLine, ...]:
    """Return a line for each reason, in the order of the stages, frequent ones first."""
    reasons = dropped.group_by("stage", "reason").agg(pl.col("rows").sum())
    place = {stage: at for at, stage in enumerate(stages)}
    lines = sorted(reasons.iter_rows(), key=lambda r: (place.get(r[0], len(place)), -r[2], r[1]))
    single = [one.name for one in columns if not one.others]
    counted = [
        _counts(dropped.filter(stage=stage, reason=reason), columns, single)
        for stage, reason, _ in lines
    ]
    return tuple(
        ReasonLine(stage, reason, rows, counts)
        for (stage, reason, rows), counts in zip(lines, counted, strict=True)
    )


def _counts(
    rows: pl.DataFrame, columns: Sequence[SourceFates], single: Sequence[str | None]
) -> tuple[int, ...]:
    by_name = dict(rows.group_by("name").agg(pl.col("rows").sum()).iter_rows())
    rest = sum(by_name.values()) - sum(by_name.get(name, 0) for name in single)
    return tuple(rest if one.others else by_name.get(one.name, 0) for one in columns)


def _drops(dropped: pl.DataFrame, stages: Sequence[str]) -> tuple[int, ...]:
    """Return how many of some dropped rows each stage dropped."""
    counts = dict(dropped.group_by("stage").agg(pl.col("rows").sum()).iter_rows())
    return tuple(counts.get(stage, 0) for stage in stages)
