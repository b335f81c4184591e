"""The ledger: one line for every row that ever entered the run, with its fate and the reason.

    row_id | source | origin | fate | stage | reason | score | threshold | duplicate_of | rank

Stages leave verdicts, the selection leaves ranks; the ledger is their join and nothing else.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from curate.core.calls import CachedCall, Counted, Table, cached, cached_files
from curate.core.jsontypes import JSON
from curate.core.methods import find_method
from curate.core.pins import decide, spare_pinned
from curate.core.reasons import Reason
from curate.core.run import StepRun
from curate.core.stage import Stage, StageData
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.tables import scan_table, write_table

VERSION = 2
LEDGER_VERSION = 2
EVIDENCE_COLUMNS = ["row_id", "keep", "reason", "score", "threshold", "duplicate_of"]


def stage_inputs(
    rows: Table, before: Mapping[str, Table], examples: Mapping[str, Table], uses: Sequence[str]
) -> StageInputs:
    """Return what a stage reads: rows, evidence of earlier stages, the example sets that it uses."""
    used = {name: table for name, table in examples.items() if name in uses}
    return StageInputs(rows, tuple(before.values()), **used)


def stage_call(
    name: str,
    stage: Stage,
    data: StageInputs,
    before: Sequence[str],
    prepared: Mapping[str, Table],
) -> CachedCall[Artifact]:
    """Return the call of one stage: it reads what earlier stages kept and judges each row.

    Args:
        name: of the stage.
        stage: the stage.
        data: what it reads.
        before: names of the earlier stages.
        prepared: what it has prepared, by name.
    """
    call = run_stage.call(data, stage.model_dump(mode="json"), list(before), dict(prepared))
    return call.named(name, stage.version)


def judge_rows(
    run: StepRun,
    name: str,
    stage: Stage,
    rows: Table,
    before: Mapping[str, Table],
    examples: Mapping[str, Table],
) -> tuple[Table, Mapping[str, Table]]:
    """Return the verdicts of a stage on what earlier stages kept, and what it prepared for them.

    Args:
        run: makes what is stored.
        name: of the stage.
        stage: the stage.
        rows: the pool as the stage finds it.
        before: evidence of earlier stages, by name.
        examples: sets of examples, by name.
    """
    data = stage_inputs(rows, before, examples, stage.uses)
    prepared = spare_pinned(run, stage, data.evidence, stage.prepare(run, data))
    return evidence_of(run.result(stage_call(name, stage, data, list(before), prepared))), prepared


def evidence_of(stage: Artifact) -> Table:
    """Return the verdicts of a stage."""
    return Table(stage, "evidence")


# The version is that of the stage: stage_call says it.
@cached_files(version=0, name="stage")
def run_stage(
    out: Path,
    data: StageInputs,
    stage: Mapping[str, JSON],
    before: Sequence[str],
    prepared: Mapping[str, Table],
) -> Counts:
    """Write evidence.parquet and the stage's own tables; check that every row has one verdict."""
    judge = find_method(Stage, str(stage["method"])).model_validate(stage)
    result = decide(judge, _stage_data(data, before, prepared))
    path = out / "evidence.parquet"
    verdicts = result.evidence.lazy()
    others = pl.selectors.exclude(EVIDENCE_COLUMNS)
    write_table(verdicts.select(*EVIDENCE_COLUMNS, others), path)
    for name, table in result.tables.items():
        write_table(table, out / f"{name}.parquet")
    return _checked_counts(scan_table(path), data.survivors(), judge.reason)


def _stage_data(
    data: StageInputs, before: Sequence[str], prepared: Mapping[str, Table]
) -> StageData:
    def examples(table: Table | None) -> pl.DataFrame | None:
        return None if table is None else table.read()

    return StageData(
        rows=data.survivors(),
        target=examples(data.target),
        eval=examples(data.eval),
        protected=examples(data.protected),
        watch=examples(data.watch),
        evidence={n: table.scan() for n, table in zip(before, data.evidence, strict=True)},
        prepared=prepared,
    )


def _checked_counts(
    evidence: pl.LazyFrame, survivors: pl.LazyFrame, own_reason: str | None
) -> Counts:
    """Return the counts of verdicts.

    Raises:
        AssertionError: not every row has one verdict, or a drop has no known reason.
    """
    _check_ids(evidence.select("row_id"), survivors.select("row_id"))
    groups = evidence.group_by("keep", "reason").len().collect()
    fates = dict(groups.group_by("keep").agg(pl.col("len").sum()).iter_rows())
    if None in fates:
        raise AssertionError(f"{fates[None]} rows have no verdict: keep is null")
    dropped = groups.filter(~pl.col("keep")).sort("reason")
    reasons = dict(dropped.select("reason", "len").iter_rows())
    known_reasons = {*(reason.value for reason in Reason), *([own_reason] if own_reason else [])}
    if unknown := reasons.keys() - known_reasons:
        raise AssertionError(
            f"reasons that curate.core.reasons does not list: {unknown}; a stage may have "
            "one of its own, in `reason`"
        )
    kept = fates.get(True, 0)
    return {"rows_in": kept + fates.get(False, 0), "rows_out": kept, "dropped": reasons}


def _check_ids(judged: pl.LazyFrame, ids: pl.LazyFrame) -> None:
    """Fail unless rows and verdicts have the same ids, each as often, in whatever order."""
    # Most stages keep the order of the rows; sorting the ids of millions takes longer than they do.
    both = pl.concat([judged, ids.rename({"row_id": "other"})], how="horizontal_extend")
    if both.select((pl.col("row_id").eq_missing(pl.col("other"))).all()).collect().item():
        return
    lines, rows = judged.collect()["row_id"], ids.collect()["row_id"]
    if not lines.sort().equals(rows.sort()):
        raise AssertionError(
            f"the stage read {len(rows)} rows and judged {lines.n_unique()} of them "
            f"in {len(lines)} lines"
        )


def kept_rows(run: StepRun, rows: Table, evidence: Sequence[Table]) -> Table:
    """Return the rows that all stages kept: row_id and position in the pool."""
    return run(kept, rows, tuple(evidence))


@cached(version=VERSION, name="kept")
def kept(rows: Table, evidence: tuple[Table, ...]) -> Counted[pl.LazyFrame]:
    """Return row_id and position in the pool of the rows that no evidence drops, in pool order."""
    ids = rows.scan().select("row_id")
    positions = ids.with_row_index("position").cast({"position": pl.Int64})
    table = StageInputs(rows, evidence).without_dropped(positions)
    return Counted(table.select("row_id", "position"), {"rows_in": rows.height})


def ledger(run: StepRun, rows: Table, evidence: Mapping[str, Table], ranking: Table) -> Table:
    """Return the fate of every row of the pool."""
    return Table(run(write_ledger, rows, evidence, ranking), "ledger")


@cached_files(version=LEDGER_VERSION, name="ledger")
def write_ledger(out: Path, rows: Table, evidence: Mapping[str, Table], ranking: Table) -> Counts:
    """Write ledger.parquet in pool order; check that fates add up to the pool."""
    pool = rows.scan().select("row_id", "source", "origin")
    parts = [_dropped(verdicts.scan(), stage) for stage, verdicts in evidence.items()]
    parts.append(_ranked(ranking.scan()))
    fates = pl.concat(parts)
    path = out / "ledger.parquet"
    write_table(pool.join(fates, on="row_id", how="left", maintain_order="left"), path)
    counts = dict(scan_table(path).group_by("fate").len().sort("fate").collect().iter_rows())
    lines, height = sum(counts.values()), pool.select(pl.len()).collect().item()
    if lines != height or None in counts:
        raise AssertionError(f"the fates {counts} do not add up to the {height} rows")
    return {"rows_in": lines, "rows_out": lines, "fates": counts}


def _dropped(evidence: pl.LazyFrame, stage: str) -> pl.LazyFrame:
    return evidence.filter(~pl.col("keep")).select(
        "row_id",
        fate=pl.lit("dropped"),
        stage=pl.lit(stage),
        reason="reason",
        score=pl.col("score").cast(pl.Float64),
        threshold=pl.col("threshold").cast(pl.Float64),
        duplicate_of="duplicate_of",
        rank=pl.lit(None, dtype=pl.Int64),
    )


def _ranked(ranking: pl.LazyFrame) -> pl.LazyFrame:
    chosen = pl.col("selected")
    return ranking.select(
        "row_id",
        fate=pl.when(chosen).then(pl.lit("selected")).otherwise(pl.lit("not_selected")),
        stage=pl.lit("select"),
        reason="reason",
        score=pl.col("score").cast(pl.Float64),
        threshold=pl.lit(None, dtype=pl.Float64),
        duplicate_of=pl.lit(None, dtype=pl.String),
        rank="rank",
    )
