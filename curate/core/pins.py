"""Pins: rows that a person has marked to keep, which no later stage drops.

    row_id         keep    pinned   duplicate_of
    web/a.jsonl:7  true    true     null               no later stage drops the row
    web/a.jsonl:9  false   true     manual/5c...       none drops the row that came in its place

The evidence of a stage that pins rows has the column PINNED. A later stage judges them like all others;
where it would drop one, its evidence says `keep`, with the same score, and the reason of the drop under
OVERRIDDEN. A stage that makes new rows makes none of a pinned one. Stages that keep out what no training
may read (`keeps_out`) drop pinned rows too.

Without a pinned row, evidence is what the stage decides, byte for byte.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import polars as pl

from curate.core.calls import Table, cached
from curate.core.run import StepRun
from curate.core.stage import APPENDED, Stage, StageData, StageResult

PINNED, OVERRIDDEN = "pinned", "overridden"


def decide(stage: Stage, data: StageData) -> StageResult:
    """Return the verdicts of a stage, which drops no row that an earlier one has pinned."""
    result = stage.decide(data)
    pins = _pins_on(stage, data.evidence.values())
    if not len(pins):
        return result
    return replace(result, evidence=_overridden(result.evidence, pins, APPENDED in data.prepared))


def pinned_ids(evidence: Iterable[pl.LazyFrame]) -> pl.Series:
    """Return the ids of the rows that the evidence of some stages pins, in order."""
    parts = [_pinned(table) for table in evidence if PINNED in table.collect_schema()]
    nothing = pl.LazyFrame(schema={"row_id": pl.String})
    return pl.concat([nothing, *parts]).unique().sort("row_id").collect()["row_id"]


def spare_pinned(
    run: StepRun, stage: Stage, evidence: Sequence[Table], prepared: Mapping[str, Table]
) -> Mapping[str, Table]:
    """Return what a stage has prepared, without the rows that it made of pinned ones."""
    if APPENDED not in prepared or not len(_pins_on(stage, (e.scan() for e in evidence))):
        return prepared
    return {**prepared, APPENDED: run(unpinned_rows, prepared[APPENDED], tuple(evidence))}


@cached(version=1, name="pins-spared", title="Leave out what was made of pinned rows")
def unpinned_rows(rows: Table, evidence: tuple[Table, ...]) -> pl.LazyFrame:
    """Return the rows that a stage made, but for those whose parents are pinned."""
    pins = pinned_ids(table.scan() for table in evidence)
    of_pinned = pl.col("parents").list.eval(pl.element().is_in(pins.implode())).list.any()
    return rows.scan().filter(~of_pinned)


def _pins_on(stage: Stage, evidence: Iterable[pl.LazyFrame]) -> pl.Series:
    """Return the pinned rows that a stage may not drop."""
    return pinned_ids([] if stage.keeps_out is not None or stage.pins else evidence)


def _pinned(evidence: pl.LazyFrame) -> pl.LazyFrame:
    row = pl.when("keep").then("row_id").otherwise("duplicate_of").alias("row_id")
    return evidence.filter(PINNED).select(row).drop_nulls()


def _overridden(
    evidence: pl.DataFrame | pl.LazyFrame, pins: pl.Series, replaces: bool
) -> pl.LazyFrame:
    """Return verdicts that keep pinned rows; a row that stays is replaced by none."""
    over = ~pl.col("keep") & pl.col("row_id").is_in(pins.implode())
    columns = {
        "keep": pl.col("keep") | over,
        "reason": pl.when(~over).then("reason"),
        OVERRIDDEN: pl.when(over).then("reason"),
    }
    if replaces:
        columns["duplicate_of"] = pl.when(~over).then("duplicate_of")
    return evidence.lazy().with_columns(**columns)
