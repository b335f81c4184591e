"""Eval leaks: how much of each eval set the pool holds, and rows that only resemble an example.

Older runs lack some of the tables; whatever is missing is left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.report.differences import Side, show_sides
from curate.report.duplicates import stages_of
from curate.report.examples import Rows, RowView, read_rows, show_example
from curate.runs.folder import RunFolder

MOST_PAIRS = 10
# Tulu 3 calls a training set contaminated that leaks a larger share (arXiv:2411.15124, section 3.2).
CONTAMINATED = 0.02
SET_COLUMNS = ("source", "examples", "leaked", "share", "rows")


@dataclass(frozen=True)
class EvalSet:
    """An eval set; `warned` counts rows that only resemble an example, None if none were looked for."""

    source: str
    examples: int
    leaked: int
    share: float
    rows: int
    warned: int | None

    @property
    def contaminated(self) -> bool:
        """Return whether more of it leaks than Tulu 3 would let pass."""
        return self.share > CONTAMINATED


@dataclass(frozen=True)
class Resemblance:
    """A kept row that means much the same as an eval example."""

    similarity: float
    row: Side
    example: Side


@dataclass(frozen=True)
class TargetLeak:
    """A target example that holds an eval prompt; `coverage` is the share of it that is held."""

    coverage: float
    target: RowView
    example: RowView


@dataclass(frozen=True)
class LeakCheck:
    """A stage that looked for leaks. The counts of warnings and targets are of rows and examples."""

    stage: str
    params: Mapping[str, Any]
    read: int
    dropped: int
    sets: tuple[EvalSet, ...]
    warning_count: int
    warnings: tuple[Resemblance, ...]
    target_count: int
    targets: tuple[TargetLeak, ...]


def gather_leaks(run: RunFolder) -> tuple[LeakCheck, ...]:
    """Return the run's checks for leaks in their order."""
    return tuple(_check(run, name, params) for name, params in stages_of(run, ["leaks"]).items())


def _check(run: RunFolder, stage: str, params: Mapping[str, Any]) -> LeakCheck:
    dropped = (~pl.col("keep")).sum()
    verdicts = run.table(f"evidence/{stage}").select(read=pl.len(), dropped=dropped).collect()
    near = _pairs(run, f"{stage}-warnings", "similarity")
    targets = _pairs(run, f"{stage}-target", "coverage")
    pairs = [*near.head(MOST_PAIRS).to_dicts(), *targets.head(MOST_PAIRS).to_dicts()]
    rows = read_rows(run, {line[key] for line in pairs for key in ("row_id", "eval_id")})
    return LeakCheck(
        stage=stage,
        params=params,
        read=verdicts["read"].item(),
        dropped=verdicts["dropped"].item(),
        sets=_sets(run, f"{stage}-sets"),
        warning_count=near.height,
        warnings=tuple(_resemblance(line, rows) for line in near.head(MOST_PAIRS).to_dicts()),
        target_count=targets.height,
        targets=tuple(_target_leak(line, rows) for line in targets.head(MOST_PAIRS).to_dicts()),
    )


def _pairs(run: RunFolder, table: str, value: str) -> pl.DataFrame:
    """Return the pair with the highest value of each row, highest first; none without the table."""
    name = f"evidence/{table}"
    if not run.has(name) or value not in run.table(name).collect_schema():
        return pl.DataFrame(schema={"row_id": pl.String, "eval_id": pl.String})
    order = run.table(name).sort(value, "row_id", "eval_id", descending=[True, False, False])
    return order.unique("row_id", keep="first", maintain_order=True).collect()


def _sets(run: RunFolder, table: str) -> tuple[EvalSet, ...]:
    name = f"evidence/{table}"
    if not run.has(name) or not {*SET_COLUMNS} <= {*run.table(name).collect_schema()}:
        return ()
    lines = run.table(name).collect().to_dicts()
    return tuple(
        EvalSet(**{column: line[column] for column in SET_COLUMNS}, warned=line.get("warned"))
        for line in lines
    )


def _resemblance(line: Mapping[str, Any], rows: Rows) -> Resemblance:
    sides = show_sides(line["row_id"], line["eval_id"], rows, expect_alike=False)
    return Resemblance(line["similarity"], *sides)


def _target_leak(line: Mapping[str, Any], rows: Rows) -> TargetLeak:
    shared = line.get("span")
    target, held = (show_example(line[key], rows, {}, shared) for key in ("row_id", "eval_id"))
    return TargetLeak(line["coverage"], target, held)
