"""The ledger: one line for every row that ever entered the run, with its fate and the reason.

    row_id | source | origin | fate | stage | reason | score | threshold | duplicate_of | rank

Stages leave verdicts, the selection leaves ranks; the ledger is their join and nothing else.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow.parquet as pq
from numpy.typing import NDArray

from curate.core.reasons import Reason
from curate.core.registry import Params, StageData, StageResult, StepRun, find_stage
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, rows_at_once, scan_table

VERSION = 1
LEDGER_VERSION = 2
PREPARED = "prepared-"
EVIDENCE_COLUMNS = ["row_id", "keep", "reason", "score", "threshold", "duplicate_of"]


def stage_inputs(
    rows: Artifact, before: Mapping[str, Artifact], examples: Mapping[str, Artifact], kind: str
) -> dict[str, Artifact]:
    """Return what the steps of a stage read: rows, evidence of earlier stages, example sets."""
    uses = find_stage(kind).uses
    used = {name: artifact for name, artifact in examples.items() if name in uses}
    return {"rows": rows, **_named(list(before.values())), **used}


def stage_step(
    name: str,
    params: Mapping[str, Any],
    inputs: Mapping[str, Artifact],
    before: Sequence[str],
    prepared: Mapping[str, Artifact],
) -> Step:
    """Return the step of one stage: it reads what earlier stages kept and judges each row."""
    stage = find_stage(params["kind"])
    prepared_inputs = {f"{PREPARED}{part}": artifact for part, artifact in prepared.items()}
    judged = {"stage": dict(params), "before": list(before)}
    return Step(name, stage.version, run_stage, {**inputs, **prepared_inputs}, judged)


def judge_rows(
    run: StepRun,
    name: str,
    params: Params,
    rows: Artifact,
    before: Mapping[str, Artifact],
    examples: Mapping[str, Artifact],
) -> tuple[Artifact, Mapping[str, Artifact]]:
    """Return the verdicts of a stage on what earlier stages kept, and what it prepared for them.

    Args:
        run: executes the steps.
        name: of the stage.
        params: of the stage.
        rows: the pool as the stage finds it.
        before: evidence of earlier stages, by name.
        examples: sets of examples, by name.
    """
    dump = params.model_dump(mode="json")
    stage = find_stage(dump["kind"])
    inputs = stage_inputs(rows, before, examples, dump["kind"])
    prepared = stage.prepare(run, inputs, params) if stage.prepare else {}
    return run.execute(stage_step(name, dump, inputs, list(before), prepared)), prepared


def run_stage(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write evidence.parquet and the stage's own tables; check that every row has one verdict."""
    stage = find_stage(params["stage"]["kind"])
    data = _stage_data(inputs, params["before"])
    result = stage.decide(data, stage.params.model_validate(params["stage"]))
    _check_verdicts(result, data.rows.select("row_id").collect()["row_id"])
    more = [name for name in result.evidence.columns if name not in EVIDENCE_COLUMNS]
    result.evidence.select(*EVIDENCE_COLUMNS, *more).write_parquet(out / "evidence.parquet")
    for name, table in result.tables.items():
        table.write_parquet(out / f"{name}.parquet")
    dropped = result.evidence.filter(~pl.col("keep"))
    reasons = dropped.group_by("reason").len().sort("reason")
    return {
        "rows_in": result.evidence.height,
        "rows_out": result.evidence.height - dropped.height,
        "dropped": dict(reasons.iter_rows()),
    }


def _stage_data(inputs: Mapping[str, Artifact], before: Sequence[str]) -> StageData:
    def examples(name: str) -> pl.DataFrame | None:
        return read_table(inputs[name].file("rows.parquet")) if name in inputs else None

    evidence = {
        name: scan_table(inputs[key].file("evidence.parquet"))
        for name, key in zip(before, _evidence_keys(len(before)), strict=True)
    }
    return StageData(
        rows=survivors(inputs),
        target=examples("target"),
        eval=examples("eval"),
        protected=examples("protected"),
        watch=examples("watch"),
        evidence=evidence,
        prepared={
            part: artifact.file(f"{part}.parquet")
            for key, artifact in inputs.items()
            if (part := key.removeprefix(PREPARED)) != key
        },
    )


def _check_verdicts(result: StageResult, ids: pl.Series) -> None:
    """Fail unless rows in = kept + dropped, each once, each drop with a known reason."""
    evidence = result.evidence
    if evidence.height != len(ids) or not evidence["row_id"].sort().equals(ids.sort()):
        raise AssertionError(
            f"the stage read {len(ids)} rows and judged {evidence['row_id'].n_unique()} of them "
            f"in {evidence.height} lines"
        )
    if evidence["keep"].null_count():
        raise AssertionError(f"{evidence['keep'].null_count()} rows have no verdict: keep is null")
    reasons = evidence.filter(~pl.col("keep"))["reason"]
    unknown = set(reasons.to_list()) - {reason.value for reason in Reason}
    if unknown:
        raise AssertionError(f"reasons that curate.core.reasons does not list: {unknown}")


def survivors(inputs: Mapping[str, Artifact]) -> pl.LazyFrame:
    """Return the rows that no earlier evidence drops, in pool order.

    Rows that a stage made are unknown to the stages before them, which drop them no more than keep them.
    """
    rows = scan_table(inputs["rows"].file("rows.parquet"))
    for dropped in _drops(inputs):
        rows = rows.join(dropped, on="row_id", how="anti", maintain_order="left")
    return rows


def _drops(inputs: Mapping[str, Artifact]) -> Iterator[pl.LazyFrame]:
    """Yield the ids that each earlier stage drops."""
    for name in sorted(inputs):
        if name.startswith("evidence-"):
            verdicts = scan_table(inputs[name].file("evidence.parquet"))
            yield verdicts.filter(~pl.col("keep")).select("row_id")


def survivor_batches(
    inputs: Mapping[str, Artifact],
    columns: Sequence[str],
    size: int,
    start: int = 0,
    stop: int = -1,
) -> Iterator[pl.DataFrame]:
    """Yield the rows that no earlier evidence drops, batch by batch, without ever holding them all.

    Args:
        inputs: the inputs of a stage's step.
        columns: which columns of the rows.
        size: pool rows that a batch is made from at most.
        start: first pool position.
        stop: pool position to end before; the end of the pool if negative.

    Yields:
        The columns and `position` in the pool, in pool order; empty batches are left out.
    """
    path = inputs["rows"].file("rows.parquet")
    file, size = pq.ParquetFile(path, pre_buffer=False), rows_at_once(path, size)
    kept = survivor_mask(inputs)
    stop = len(kept) if stop < 0 else stop
    at = 0
    for group in range(file.num_row_groups):
        rows = file.metadata.row_group(group).num_rows
        if at + rows > start and at < stop:
            inner = at
            for batch in file.iter_batches(size, row_groups=[group], columns=list(columns)):
                frame = pl.DataFrame(pl.from_arrow(batch)).with_columns(
                    position=pl.int_range(inner, inner + len(batch), dtype=pl.Int64)
                )
                inside = frame.filter(pl.Series(kept[inner : inner + len(batch)])).filter(
                    pl.col("position").is_between(start, stop, closed="left")
                )
                inner += len(batch)
                if inside.height:
                    yield inside
        at += rows


def survivor_mask(inputs: Mapping[str, Artifact]) -> NDArray[np.bool_]:
    """Return for each pool position whether no earlier evidence drops the row."""
    ids = scan_table(inputs["rows"].file("rows.parquet")).select("row_id")
    positions = ids.with_row_index("position").cast({"position": pl.Int64})
    for dropped in _drops(inputs):
        positions = positions.join(dropped, on="row_id", how="anti")
    mask = np.zeros(ids.select(pl.len()).collect().item(), dtype=np.bool_)
    mask[positions.select("position").collect()["position"].to_numpy()] = True
    return mask


def kept_step(rows: Artifact, evidence: Sequence[Artifact]) -> Step:
    """Return the step that lists the rows that all stages kept."""
    return Step("kept", VERSION, write_kept, {"rows": rows, **_named(evidence)})


def write_kept(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write kept.parquet: row_id and position in the pool, in pool order."""
    rows = scan_table(inputs["rows"].file("rows.parquet")).select("row_id")
    positions = rows.with_row_index("position").cast({"position": pl.Int64}).collect()
    kept = positions.join(
        survivors(inputs).select("row_id").collect(),
        on="row_id",
        how="semi",
        maintain_order="left",
    ).select("row_id", "position")
    kept.write_parquet(out / "kept.parquet")
    return {"rows_in": positions.height, "rows_out": kept.height}


def ledger_step(rows: Artifact, evidence: Mapping[str, Artifact], selection: Artifact) -> Step:
    """Return the step that joins all evidence."""
    inputs = {"rows": rows, "selection": selection, **_named(list(evidence.values()))}
    return Step("ledger", LEDGER_VERSION, write_ledger, inputs, {"stages": list(evidence)})


def write_ledger(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write ledger.parquet in pool order; check that fates add up to the pool."""
    rows = read_table(inputs["rows"].file("rows.parquet"), columns=["row_id", "source", "origin"])
    parts = [
        _dropped(scan_table(inputs[key].file("evidence.parquet")), stage)
        for key, stage in zip(_evidence_keys(len(params["stages"])), params["stages"], strict=True)
    ]
    parts.append(_ranked(scan_table(inputs["selection"].file("ranking.parquet"))))
    fates = pl.concat(parts).collect()
    ledger = rows.join(fates, on="row_id", how="left", maintain_order="left")
    counts = dict(ledger.group_by("fate").len().sort("fate").iter_rows())
    if ledger.height != rows.height or None in counts:
        raise AssertionError(f"the fates {counts} do not add up to the {rows.height} rows")
    ledger.write_parquet(out / "ledger.parquet")
    return {"rows_in": rows.height, "rows_out": rows.height, "fates": counts}


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


def _named(evidence: Sequence[Artifact]) -> dict[str, Artifact]:
    return dict(zip(_evidence_keys(len(evidence)), evidence, strict=True))


def _evidence_keys(count: int) -> list[str]:
    return [f"evidence-{i:03d}" for i in range(count)]
