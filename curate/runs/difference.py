"""Two runs compared: what their recipes differ in, their funnels, what both select, their verdicts."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.preferences import is_pair, rejected_text
from curate.runs.folder import RunFolder
from curate.runs.funnel import gather_funnel
from curate.runs.verdict_text import ProofFigures, read_verdict
from curate.selectors.compared import numbered

# Where results and names lie says nothing of the rows.
APART = ("name", "store", "out", "run")
METHODS = ("stages", "compare")
WIDTH = 40
BY_ID, BY_TEXT = "row_id", "content_hash"
NOT_THERE = "not in its pool"


@dataclass(frozen=True)
class SettingDifference:
    """A key of the recipes whose values differ; None where one has no such key."""

    key: str
    one: str | None
    other: str | None


@dataclass(frozen=True)
class StepCounts:
    """What remains of two runs after a step; None where a run has no such step."""

    step: str
    one: int | None
    other: int | None


@dataclass(frozen=True)
class SelectionOverlap:
    """How many values of a column (ids or texts) two selections have in common, and alone."""

    column: str
    both: int
    only_one: int
    only_other: int

    @property
    def share(self) -> float | None:
        """Return the share of those of either that are of both, None where there are none."""
        total = self.both + self.only_one + self.only_other
        return self.both / total if total else None


@dataclass(frozen=True)
class RunDifference:
    """What two runs differ in and have in common."""

    paths: tuple[Path, Path]
    settings: tuple[SettingDifference, ...]
    steps: tuple[StepCounts, ...]
    overlaps: tuple[SelectionOverlap, ...]
    verdicts: tuple[ProofFigures | None, ProofFigures | None]


def compare_runs(one: RunFolder, other: RunFolder) -> RunDifference:
    """Return what two runs differ in and have in common.

    Raises:
        ValueError: the tables of a run contradict each other.
    """
    return RunDifference(
        (one.path, other.path),
        tuple(_settings(one.manifest["config"], other.manifest["config"])),
        tuple(_steps(one, other)),
        tuple(_overlaps(one, other)),
        (read_verdict(one), read_verdict(other)),
    )


def rows_of_one(one: RunFolder, other: RunFolder, column: str = BY_TEXT) -> pl.DataFrame:
    """Return the rows that a run selects and another one does not, best first.

    Args:
        one: the run that selects them.
        other: the run that does not.
        column: what makes two rows the same: BY_ID or BY_TEXT.

    Returns:
        row_id, source, origin, rank, and what became of the row in the other run: `fate`, which is
        NOT_THERE where its pool has no such row of this id, `stage` and `reason`.
    """
    keys = _by_text(other.table("selected")).select(column)
    ranks = one.table("ledger").select("row_id", "rank")
    fates, on = _fates(other)
    return (
        _by_text(one.table("selected"))
        .join(keys, on=column, how="anti")
        .select("row_id", "content_hash", "source", "origin")
        .join(ranks, on="row_id", how="left")
        .join(fates, on=on, how="left")
        .drop("content_hash")
        .with_columns(pl.col("fate").fill_null(NOT_THERE))
        .sort("rank", "row_id")
        .collect()
    )


def _by_text(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Return rows with a column BY_TEXT in which pairs with other rejected answers differ."""
    if "rejected" not in rows.collect_schema():
        return rows
    rejected = pl.when(is_pair()).then(rejected_text().hash().cast(pl.String))
    return rows.with_columns(pl.concat_str(BY_TEXT, rejected, ignore_nulls=True).alias(BY_TEXT))


def _fates(run: RunFolder) -> tuple[pl.LazyFrame, list[str]]:
    """Return the fates of a run's rows, and the columns that a row of another run is found by.

    Where the store still has the pool, another text of the same id is another row.
    """
    fates, pool = run.table("ledger").select("row_id", "fate", "stage", "reason"), run.rows("pool")
    if pool is None:
        return fates, [BY_ID]
    return fates.join(_by_text(pool).select(BY_ID, BY_TEXT), on=BY_ID), [BY_ID, BY_TEXT]


def _settings(one: dict[str, Any], other: dict[str, Any]) -> Iterator[SettingDifference]:
    """Yield the keys of the recipes whose values differ; methods are told apart by their names."""
    left, right = (_by_name(config) for config in (one, other))
    for key in METHODS:
        lonely = left[key].keys() ^ right[key].keys()
        orders = [[n for n in side[key] if n not in lonely] for side in (left, right)]
        if orders[0] != orders[1]:
            yield SettingDifference(f"order of {key}", *(", ".join(order) for order in orders))
        for name in (n for n in dict.fromkeys([*left[key], *right[key]]) if n in lonely):
            methods = [side[key].pop(name, {}).get("method") for side in (left, right)]
            yield SettingDifference(f"{key}.{name}", *methods)
    values = [dict(_flat(side)) for side in (left, right)]
    for key in dict.fromkeys([*values[0], *values[1]]):
        given = [_value(side, key) for side in values]
        if key.partition(".")[0] not in APART and given[0] != given[1]:
            yield SettingDifference(key, *given)


def _by_name(config: dict[str, Any]) -> dict[str, Any]:
    """Return a recipe with its stages and compared methods by their names: fuzzy, fuzzy-2 ..."""
    named = {}
    for key in METHODS:
        methods = config.get(key) or []
        names = numbered([str(one.get("method", one.get("kind"))) for one in methods])
        named[key] = dict(zip(names, methods, strict=True))
    return {**config, **named}


def _flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the values of a recipe by their keys: stages.fuzzy.threshold."""
    items: Any = ()
    if isinstance(value, Mapping):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if not items:
        yield place, value
    for key, inner in items:
        yield from _flat(inner, f"{place}.{key}" if place else str(key))


def _value(values: dict[str, Any], key: str) -> str | None:
    return str(values[key]) if key in values else None


def _steps(one: RunFolder, other: RunFolder) -> Iterator[StepCounts]:
    """Yield what remains after each step of the runs."""
    funnels = [gather_funnel(run) for run in (one, other)]
    left, right = ({step.stage: step.remaining for step in funnel.steps} for funnel in funnels)
    yield StepCounts("records", funnels[0].records, funnels[1].records)
    # The selection is last in both.
    stages = [stage for stage in dict.fromkeys([*left, *right]) if stage != "select"]
    for stage in [*stages, "select"]:
        yield StepCounts(stage, left.get(stage), right.get(stage))


def _overlaps(one: RunFolder, other: RunFolder) -> Iterator[SelectionOverlap]:
    """Yield how many rows both select, by their ids and by their texts."""
    selected = [_by_text(run.table("selected")) for run in (one, other)]
    tables = [table.select(BY_ID, BY_TEXT).collect() for table in selected]
    for column in (BY_ID, BY_TEXT):
        left, right = (table[column].unique() for table in tables)
        both = int(left.is_in(right.implode()).sum())
        yield SelectionOverlap(column, both, len(left) - both, len(right) - both)


def difference_lines(difference: RunDifference) -> Iterator[str]:
    """Yield what two runs differ in and have in common, for a terminal."""
    yield from (f"{letter}  {path}" for letter, path in zip("AB", difference.paths, strict=True))
    yield ""
    same = not difference.settings
    yield "The recipes are the same." if same else f"{'recipe':<{WIDTH}}  A  |  B"
    for setting in difference.settings:
        one, other = ("-" if v is None else v for v in (setting.one, setting.other))
        yield f"{setting.key:<{WIDTH}}  {one}  |  {other}"
    yield from _step_lines(difference)
    yield ""
    for overlap in difference.overlaps:
        what = "rows of one id" if overlap.column == BY_ID else "rows of one text"
        share = "" if overlap.share is None else f" ({overlap.share:.0%} of those of either)"
        yield f"{f'{what} in both selections':<{WIDTH}}  {overlap.both:>10,}{share}"
    yield ""
    for letter, proof in zip("AB", difference.verdicts, strict=True):
        yield f"{letter}: {proof['sentence'] if proof else 'not proved'}"


def _step_lines(difference: RunDifference) -> Iterator[str]:
    yield ""
    yield f"{'rows':<{WIDTH}}  {'A':>10}  {'B':>10}"
    for step in difference.steps:
        name = step.step if step.step == "records" else f"left after {step.step}"
        one, other = ("-" if n is None else f"{n:,}" for n in (step.one, step.other))
        yield f"{name:<{WIDTH}}  {one:>10}  {other:>10}"
