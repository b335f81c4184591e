"""Stage ablation inside a run: what the recipe would select without the drops of one of its stages.

    exact     drops 12 rows     7 come back     2 of the 48 selected rows change

Left out are a stage's drops and the rows that it made (with what was made of these); its scores stay,
for conditions and later stages that speak of them. Later stages judge the rows that come back as they
would in a recipe without the stage, but for those that run a model: these keep the verdicts that they
gave, and so drop none of them, and what a stage would make of them is not made. Stages that guard what
is trained on (`leaks`, `pii`) are never left out, and judge what comes back too.

The method and the budget stay; of a fraction, the number of rows. Rows that come back are scored once,
for all stages together, and the others keep the scores that they have. Only a method whose scores depend
on which other rows there are (`score_more` is None) scores anew.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from curate.config.names import GENERATE, stage_names
from curate.core.ledger import judge_rows
from curate.core.registry import APPENDED, Budget, Params, SelectParams, find_selector, find_stage
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, scan_table
from curate.models.tokens import tokens_step
from curate.pipeline.run import Run
from curate.prove.ablation import AblatedStage
from curate.select.selection import SelectionResult

VERSION = 1
KEPT, SCORES, TOKENS = "kept.parquet", "scores.parquet", "tokens.parquet"
Rank = Callable[["Run", SelectParams, Artifact], SelectionResult]


def leave_out(
    run: Run, own: SelectionResult, examples: Mapping[str, Artifact], rank: Rank
) -> list[AblatedStage]:
    """Return every stage of a run with the selection that is made without it.

    Args:
        run: whose stages have judged all rows.
        own: the run's own selection.
        examples: sets of examples, by name.
        rank: makes a selection of a run from its scores.
    """
    runs = {
        name: run.with_evidence(_evidence_without(run, name, examples))
        for name in run.config.ablated_stages
    }
    kept = _kept_ids(run.kept)
    kept_without = {name: _kept_ids(other.kept) for name, other in runs.items()}
    changed = {name: runs[name] for name, ids in kept_without.items() if not ids.equals(kept)}
    rankings = dict(_rankings(run, changed, own, rank))
    stages = zip(stage_names(run.config.stages), run.config.stages, strict=True)
    guards = {name: find_stage(_kind(params)).guards for name, params in stages}
    names = [*([GENERATE] if run.generated else []), *guards]
    return [
        AblatedStage(
            stage=name,
            dropped=_dropped(run.evidence[name]) if name in run.evidence else 0,
            new_rows=_new_rows(run, name).counts["rows_out"] if _makes(run, name) else 0,
            back=int((~kept_without[name].is_in(kept.implode())).sum()) if name in runs else 0,
            unjudged=_unjudged(run, name),
            ranking=rankings.get(name),
            guards=guards.get(name),
        )
        for name in names
    ]


def stage_bill(run: Run, stages: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return seconds of the making and calls of a model of each stage, as the manifest has them."""
    work = list(zip(run.artifacts, run.parts, strict=True))
    steps = {name: [artifact for artifact, part in work if part == name] for name in stages}
    if run.generated is not None:
        steps[GENERATE] = [run.generated]
    return {
        name: {
            "seconds": round(sum(a.seconds for a in of_stage), 3),
            "calls": sum(a.counts.get("llm", {}).get("calls", 0) for a in of_stage),
        }
        for name, of_stage in steps.items()
    }


# --- stages ---------------------------------------------------------------------------------------


def _evidence_without(
    run: Run, left_out: str, examples: Mapping[str, Artifact]
) -> dict[str, Artifact]:
    """Return what the stages find when the drops of one of them are left out."""
    params = dict(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    evidence: dict[str, Artifact] = {}
    if left_out == GENERATE:
        evidence[GENERATE] = run.execute(_spared_step(run, GENERATE))
    for name, verdicts in run.evidence.items():
        if name == left_out:
            evidence[name] = run.execute(_spared_step(run, name))
        elif _judges_anew(params.get(name)) and _differs(evidence, run.evidence):
            rows = run.read_rows[name]
            evidence[name], _ = judge_rows(run, name, params[name], rows, evidence, examples)
        else:
            evidence[name] = verdicts
    return evidence


def _differs(evidence: Mapping[str, Artifact], own: Mapping[str, Artifact]) -> bool:
    return any(
        name not in own or verdicts.digest != own[name].digest
        for name, verdicts in evidence.items()
    )


def _judges_anew(params: Params | None) -> bool:
    """Return whether a later stage judges rows that come back: one of the recipe that runs no model."""
    return params is not None and not find_stage(_kind(params)).runs_model(params)


def _unjudged(run: Run, left_out: str) -> list[str]:
    """Return the later stages that run a model, and judge no row that comes back."""
    stages = list(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    later = [name for name, _ in stages].index(left_out) + 1 if left_out != GENERATE else 0
    return [name for name, params in stages[later:] if not _judges_anew(params)]


def _spared_step(run: Run, name: str) -> Step:
    """Return the step that turns the verdicts of a stage round: it keeps all, but for what it made."""
    inputs = {"rows": run.rows}
    inputs |= {"evidence": run.evidence[name]} if name in run.evidence else {}
    inputs |= {APPENDED: _new_rows(run, name)} if _makes(run, name) else {}
    table = "rows" if name == GENERATE else APPENDED
    return Step("ablation-spared", VERSION, write_spared, inputs, {"table": table})


def write_spared(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write evidence.parquet: a stage's, with all of its rows kept, and what it made as dropped."""
    parts = []
    if "evidence" in inputs:
        evidence = read_table(inputs["evidence"].file("evidence.parquet"))
        kept = pl.lit(value=True).alias("keep")
        parts.append(evidence.with_columns(kept, reason=pl.lit(None, dtype=pl.String)))
    if APPENDED in inputs:
        new_rows = read_table(
            inputs[APPENDED].file(f"{params['table']}.parquet"), columns=["row_id"]
        )
        gone = with_descendants(inputs["rows"].file("rows.parquet"), new_rows["row_id"])
        parts.append(pl.DataFrame({"row_id": gone}).with_columns(keep=pl.lit(value=False)))
    evidence = pl.concat(parts, how="diagonal")
    evidence.write_parquet(out / "evidence.parquet")
    return {"rows_in": evidence.height, "rows_out": int(evidence["keep"].sum())}


def with_descendants(rows: Path, ids: pl.Series) -> pl.Series:
    """Return row ids with those of all rows that were made of them, directly or not."""
    parents = scan_table(rows).select("row_id", "parents").filter(pl.col("parents").list.len() > 0)
    pairs = parents.explode("parents").collect()
    count = 0
    while len(ids) > count:
        count = len(ids)
        children = pairs.filter(pl.col("parents").is_in(ids.implode()))["row_id"]
        ids = pl.concat([ids, children]).unique().sort()
    return ids


def _makes(run: Run, name: str) -> bool:
    return name == GENERATE or APPENDED in run.prepared.get(name, {})


def _new_rows(run: Run, name: str) -> Artifact:
    if name == GENERATE:
        assert run.generated is not None
        return run.generated
    return run.prepared[name][APPENDED]


def _dropped(verdicts: Artifact) -> int:
    return int(verdicts.counts["rows_in"] - verdicts.counts["rows_out"])


def _kind(params: Params) -> str:
    return str(params.model_dump()["kind"])


def _kept_ids(kept: Artifact) -> pl.Series:
    return read_table(kept.file(KEPT), columns=["row_id"])["row_id"]


# --- selections -----------------------------------------------------------------------------------


def _rankings(
    run: Run, changed: Mapping[str, Run], own: SelectionResult, rank: Rank
) -> Iterator[tuple[str, Artifact]]:
    """Yield the ranking of each run without a stage, by the method and the budget of the run's own."""
    if not changed:
        return
    params = own.params
    if params.budget.fraction is not None:
        params = params.model_copy(update={"budget": Budget(rows=own.ranking.counts["rows_out"])})
    more = run.execute(_back_step(run, changed))
    stored = _scores(run, own, more)
    counted = [run.tokens]
    if more.counts["rows_out"]:
        identity, runtime = run.model_identity(), run.model_runtime()
        counted.append(run.execute(tokens_step(run.rows, more, identity, runtime)))
    for name, other in changed.items():
        other.tokens = run.execute(_chosen_step(other, counted, TOKENS))
        if stored is None:
            scores = find_selector(params.model_dump()["method"]).score(other, params)
        else:
            scores = run.execute(_chosen_step(other, stored, SCORES))
        yield name, rank(other, params, scores).ranking


def _scores(run: Run, own: SelectionResult, more: Artifact) -> list[Artifact] | None:
    """Return the stored scores and those of rows that come back; None if all have to be made anew."""
    score_more = find_selector(own.params.model_dump()["method"]).score_more
    if score_more is None:
        return None
    return [own.scores, *([score_more(run, own.params, more)] if more.counts["rows_out"] else [])]


def _back_step(run: Run, changed: Mapping[str, Run]) -> Step:
    inputs = {f"kept-{name}": other.kept for name, other in changed.items()}
    return Step("ablation-back", VERSION, write_back, {**inputs, "own": run.kept})


def write_back(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write kept.parquet: the rows that come back with any stage left out, in pool order."""
    tables = [read_table(a.file(KEPT)) for name, a in sorted(inputs.items()) if name != "own"]
    back = pl.concat(tables).unique().sort("position")
    back = back.join(
        read_table(inputs["own"].file(KEPT)), on="row_id", how="anti", maintain_order="left"
    )
    back.write_parquet(out / KEPT)
    return {"rows_out": back.height}


def _chosen_step(other: Run, parts: Sequence[Artifact], file: str) -> Step:
    inputs = {f"part-{i}": part for i, part in enumerate(parts)}
    name = f"ablation-{file.removesuffix('.parquet')}"
    return Step(name, VERSION, write_chosen, {"kept": other.kept, **inputs}, {"file": file})


def write_chosen(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write what several tables say of the kept rows, in pool order, under the name of their file."""
    file = params["file"]
    tables = [read_table(inputs[n].file(file)) for n in sorted(inputs) if n != "kept"]
    kept = read_table(inputs["kept"].file(KEPT), columns=["row_id"])
    chosen = kept.join(
        pl.concat(tables, how="diagonal_relaxed"), on="row_id", how="left", maintain_order="left"
    )
    chosen.write_parquet(out / file)
    return {"rows_in": chosen.height, "rows_out": chosen.height}
