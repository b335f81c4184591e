"""Stage ablation inside a run: what the recipe would select without the drops of one of its stages.

    exact     drops 12 rows     7 come back     2 of the 48 selected rows change

Left out are a stage's drops and the rows that it made (with what was made of these); its scores stay,
for conditions and later stages that speak of them. Later stages judge the rows that come back as they
would in a recipe without the stage, but for those that run a model: these keep the verdicts that they
gave, and so drop none of them, and what a stage would make of them is not made. Stages that guard what
is trained on (`leaks`, `pii`) are never left out, and judge what comes back too.

The method and the budget stay; of a fraction, the number of rows. Rows that come back are scored once,
for all stages together, and the others keep the scores that they have. Only a method whose scores depend
on which other rows there are (not `scores_alone`) scores anew.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

import polars as pl

from curate.config.names import GENERATE, stage_names
from curate.core.calls import Counted, Table, cached
from curate.core.ledger import judge_rows
from curate.core.pins import PINNED
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.core.stage import APPENDED, Stage
from curate.models.tokens import count_tokens
from curate.pipeline.run import Run
from curate.proof.ablation import AblatedStage
from curate.selectors.selection import SelectionResult

VERSION = 1
Rank = Callable[["Run", Selector, Table], SelectionResult]


def leave_out(
    run: Run, own: SelectionResult, examples: Mapping[str, Table], rank: Rank
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
    own_ids = _kept_ids(run.kept)
    kept_without = {name: _kept_ids(other.kept) for name, other in runs.items()}
    changed = {name: runs[name] for name, ids in kept_without.items() if not ids.equals(own_ids)}
    rankings = dict(_rankings(run, changed, own, rank))
    stages = zip(stage_names(run.config.stages), run.config.stages, strict=True)
    guards = {name: stage.keeps_out for name, stage in stages}
    names = [*([GENERATE] if run.generated else []), *guards]
    return [
        AblatedStage(
            stage=name,
            dropped=_dropped(run.evidence[name]) if name in run.evidence else 0,
            new_rows=_new_rows(run, name).height if _makes(run, name) else 0,
            back=int((~kept_without[name].is_in(own_ids.implode())).sum()) if name in runs else 0,
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


def _evidence_without(run: Run, left_out: str, examples: Mapping[str, Table]) -> dict[str, Table]:
    """Return what the stages find when the drops of one of them are left out."""
    params = dict(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    judged: dict[str, Table] = {}
    if left_out == GENERATE:
        judged[GENERATE] = _spared(run, GENERATE)
    for name, verdicts in run.evidence.items():
        if name == left_out:
            judged[name] = _spared(run, name)
        elif _judges_anew(params.get(name)) and _differs(judged, run.evidence):
            rows = run.read_rows[name]
            judged[name], _ = judge_rows(run, name, params[name], rows, judged, examples)
        else:
            judged[name] = verdicts
    return judged


def _differs(evidence: Mapping[str, Table], own: Mapping[str, Table]) -> bool:
    return any(
        name not in own or verdicts.artifact.digest != own[name].artifact.digest
        for name, verdicts in evidence.items()
    )


def _judges_anew(stage: Stage | None) -> bool:
    """Return whether a later stage judges rows that come back: one of the recipe that runs no model."""
    return stage is not None and not stage.runs_model


def _unjudged(run: Run, left_out: str) -> list[str]:
    """Return the later stages that run a model, and judge no row that comes back."""
    stages = list(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    later = [name for name, _ in stages].index(left_out) + 1 if left_out != GENERATE else 0
    return [name for name, params in stages[later:] if not _judges_anew(params)]


def _spared(run: Run, name: str) -> Table:
    """Return the verdicts of a stage turned round: all of its rows kept, but for what it made."""
    appended = _new_rows(run, name) if _makes(run, name) else None
    return run(evidence, run.rows, run.evidence.get(name), appended)


@cached(version=VERSION, name="ablation-spared")
def evidence(
    rows: Table, verdicts: Table | None = None, appended: Table | None = None
) -> Counted[pl.DataFrame]:
    """Return a stage's evidence with all of its rows kept, and what it made as dropped."""
    parts = []
    if verdicts is not None:
        keep = pl.lit(value=True).alias("keep")
        spared = verdicts.read().with_columns(keep, reason=pl.lit(None, dtype=pl.String))
        parts.append(spared.drop(PINNED, strict=False))
    if appended is not None:
        dropped = with_descendants(rows, appended.read(["row_id"])["row_id"])
        parts.append(pl.DataFrame({"row_id": dropped}).with_columns(keep=pl.lit(value=False)))
    table = pl.concat(parts, how="diagonal")
    return Counted(table, {"rows_out": int(table["keep"].sum())})


def with_descendants(rows: Table, ids: pl.Series) -> pl.Series:
    """Return row ids with those of all rows that were made of them, directly or not."""
    parents = rows.scan().select("row_id", "parents").filter(pl.col("parents").list.len() > 0)
    pairs = parents.explode("parents").collect()
    count = 0
    while len(ids) > count:
        count = len(ids)
        children = pairs.filter(pl.col("parents").is_in(ids.implode()))["row_id"]
        ids = pl.concat([ids, children]).unique().sort()
    return ids


def _makes(run: Run, name: str) -> bool:
    return name == GENERATE or APPENDED in run.prepared.get(name, {})


def _new_rows(run: Run, name: str) -> Table:
    if name == GENERATE:
        assert run.generated is not None
        return Table(run.generated, "rows")
    return run.prepared[name][APPENDED]


def _dropped(verdicts: Table) -> int:
    counts = verdicts.artifact.counts
    return int(counts["rows_in"] - counts["rows_out"])


def _kept_ids(table: Table) -> pl.Series:
    return table.read(["row_id"])["row_id"]


# --- selections -----------------------------------------------------------------------------------


def _rankings(
    run: Run, changed: Mapping[str, Run], own: SelectionResult, rank: Rank
) -> Iterator[tuple[str, Table]]:
    """Yield the ranking of each run without a stage, by the method and the budget of the run's own."""
    if not changed:
        return
    params = own.params
    if params.budget.fraction is not None:
        params = params.model_copy(update={"budget": Budget(rows=own.selection.counts["rows_out"])})
    more = run(kept, run.kept, [other.kept for other in changed.values()])
    stored = _scores(run, own, more)
    counted = [run.tokens, *([count_tokens(run, run.rows, more)] if more.height else [])]
    for name, other in changed.items():
        other.tokens = run(tokens, other.kept, counted)
        table = run(scores, other.kept, stored) if stored else params.score_rows(other)
        yield name, rank(other, params, table).ranking


def _scores(run: Run, own: SelectionResult, more: Table) -> list[Table] | None:
    """Return the stored scores and those of rows that come back; None if all have to be made anew."""
    if not own.params.scores_alone:
        return None
    return [own.scores, *([own.params.score_more(run, more)] if more.height else [])]


@cached(version=VERSION, name="ablation-back")
def kept(own: Table, others: Sequence[Table]) -> pl.DataFrame:
    """Return row_id and position of the rows that come back in other runs, in pool order."""
    back = pl.concat(other.read() for other in others).unique().sort("position")
    return back.join(own.read(), on="row_id", how="anti", maintain_order="left")


@cached(version=VERSION, name="ablation-scores")
def scores(kept: Table, parts: Sequence[Table]) -> pl.DataFrame:
    """Return what several tables of scores say of the kept rows, in pool order."""
    return _of_kept(kept, parts)


@cached(version=VERSION, name="ablation-tokens")
def tokens(kept: Table, parts: Sequence[Table]) -> pl.DataFrame:
    """Return what several tables of token counts say of the kept rows, in pool order."""
    return _of_kept(kept, parts)


def _of_kept(kept: Table, parts: Sequence[Table]) -> pl.DataFrame:
    every = pl.concat((part.read() for part in parts), how="diagonal_relaxed")
    return kept.read(["row_id"]).join(every, on="row_id", how="left", maintain_order="left")
