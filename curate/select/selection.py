"""The selection: a query over stored evidence, so another budget costs seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.core.budget import limit_of
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.registry import ScoreRun, SelectParams, find_selector
from curate.core.store import Artifact, Counts, Step
from curate.core.tables import read_table, scan_table
from curate.select.planner import PlanContext, choose, named_stages
from curate.select.scored import count_unscored, describe, order_rows
from curate.select.similarities import has_near_rows

VERSION = 4


@dataclass(frozen=True)
class SelectionResult:
    """The result of a selection: its parameters and artifacts.

    `pairs` are the similar rows that its diversity had to choose between.
    """

    params: SelectParams
    scores: Artifact
    ranking: Artifact
    pairs: Artifact | None = None


def rank_rows(
    scores: pl.DataFrame, tokens: pl.DataFrame, params: SelectParams, seed: int
) -> pl.DataFrame:
    """Return every row in rank order: row_id, rank (from 1), score, nearest_id, tokens, unscored.

    `unscored` says why a row has no score; such rows come last.

    Raises:
        UserError: no row is left to choose from, or none could be scored.
    """
    if not scores.height:
        raise UserError("no row is left to select from: every row was dropped by an earlier stage")
    method = params.model_dump()["method"]
    order = order_rows(scores, find_selector(method), params, seed)
    return (
        scores.select("row_id", "score", "nearest_id")[order.rows]
        .join(tokens, on="row_id", how="left", maintain_order="left")
        .with_columns(rank=pl.int_range(1, pl.len() + 1, dtype=pl.Int64))
        .select("row_id", "rank", "score", "nearest_id", "tokens")
        .with_columns(order.unscored)
    )


def select_step(
    run: ScoreRun, scores: Artifact, params: SelectParams, pairs: Artifact | None = None
) -> Step:
    """Return the step that writes the selection; it reads the stages that the plan speaks of."""
    inputs, step_params = _step_inputs(run, scores, params, pairs)
    return Step("select", VERSION, write_selection, inputs, step_params)


def ranking_step(
    run: ScoreRun, scores: Artifact, params: SelectParams, pairs: Artifact | None = None
) -> Step:
    """Return the step that ranks and chooses rows as a selection does, for a method to compare."""
    inputs, step_params = _step_inputs(run, scores, params, pairs)
    return Step("select-compared", VERSION, write_ranking, inputs, step_params)


def _step_inputs(
    run: ScoreRun, scores: Artifact, params: SelectParams, pairs: Artifact | None
) -> tuple[dict[str, Artifact], dict[str, Any]]:
    dump = params.model_dump(mode="json")
    names = [name for name in named_stages(params) if name in run.evidence]
    inputs = {"rows": run.rows, "scores": scores, "tokens": run.tokens}
    inputs |= {f"evidence-{name}": run.evidence[name] for name in names}
    if pairs is not None:
        inputs["pairs"] = pairs
    version = [VERSION, find_selector(dump["method"]).version]
    return inputs, {"select": dump, "seed": run.seed, "versions": version, "stages": names}


def write_ranking(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write ranking.parquet: every row in rank order, whether it is selected, and why."""
    select = find_selector(params["select"]["method"]).params.model_validate(params["select"])
    scores = read_table(inputs["scores"].file("scores.parquet"))
    ranked = rank_rows(
        scores,
        read_table(inputs["tokens"].file("tokens.parquet")),
        select,
        params["seed"],
    )
    context = PlanContext(
        rows=scan_table(inputs["rows"].file("rows.parquet")),
        evidence={
            name: scan_table(inputs[f"evidence-{name}"].file("evidence.parquet"))
            for name in params["stages"]
        },
        pairs=read_table(inputs["pairs"].file("pairs.parquet")) if "pairs" in inputs else None,
    )
    ranking = choose(ranked, select, context)
    ranking.write_parquet(out / "ranking.parquet")
    chosen = ranking.filter("selected")
    left = ranking.filter(~pl.col("selected")).group_by("reason").len().sort("reason")
    reasons = dict(left.iter_rows())
    counts = {
        "rows_in": ranking.height,
        "rows_out": chosen.height,
        "not_selected": ranking.height - chosen.height,
        "reasons": reasons,
    }
    if not chosen["tokens"].null_count():
        counts["tokens"] = int(chosen["tokens"].sum())
    if select.budget.tokens is not None:
        counts["passed_over"] = reasons.get(Reason.PASSED_OVER, 0)
    if Reason.UNSCORED in reasons:
        counts["unscored"] = count_unscored(ranked["unscored"])
    near = has_near_rows(scores)
    if not near.all():
        counts["idle_examples"] = int((~near).sum())
    return counts


def choice_remarks(params: SelectParams, counts: Mapping[str, Any]) -> list[str]:
    """Return what a user must know of a selection: rows without a score, and a budget not spent."""
    remarks = []
    if unscored := counts.get("unscored", {}):
        remarks.append(
            f"{sum(unscored.values()):,} of {counts['rows_in']:,} rows could not be scored and are "
            f"not selected ({describe(unscored)})"
        )
    if idle := counts.get("idle_examples", 0):
        remarks.append(
            f"target examples without any similarity to any row, which take no turns: {idle:,}"
        )
    limit = limit_of(params.budget, counts["rows_in"])
    in_tokens = params.budget.tokens is not None
    spent = counts["tokens"] if in_tokens else counts["rows_out"]
    if limit.total - spent > limit.slack and (in_tokens or unscored):
        remarks.append(
            f"the budget of {params.budget} is not spent: no more than {counts['rows_out']:,} rows"
            + (f" with {spent:,} tokens could be selected" if in_tokens else " could be selected")
        )
    return remarks


def write_selection(
    out: Path, inputs: Mapping[str, Artifact], params: Mapping[str, Any], runtime: Mapping[str, Any]
) -> Counts:
    """Write ranking.parquet (every row in rank order) and selected.parquet (the chosen rows)."""
    counts = write_ranking(out, inputs, params, runtime)
    chosen = scan_table(out / "ranking.parquet").filter("selected").select("row_id", "rank")
    rows = scan_table(inputs["rows"].file("rows.parquet"))
    selected = rows.join(chosen, on="row_id").sort("rank").drop("rank").collect()
    selected.write_parquet(out / "selected.parquet")
    return counts
