"""The selection: a query over stored evidence, so another budget costs seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.core.budget import limit_of
from curate.core.calls import Table, TableGroup, cached_files
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.methods import find_method
from curate.core.reasons import Reason
from curate.core.run import ScoreRun
from curate.core.selector import Selector
from curate.core.selectparams import SelectParams
from curate.core.store import Artifact, Counts
from curate.core.tables import scan_table, write_table
from curate.selectors.combine import has_near_rows
from curate.selectors.planner import PlanContext, choose, named_stages
from curate.selectors.scored import RankOrder, count_unscored, describe, order_rows

VERSION = 6


@dataclass(frozen=True)
class SelectionResult:
    """The result of a selection: its selector, the scores, and its artifact, which has the ranking.

    `pairs` are the similar rows that its diversity had to choose between.
    """

    params: Selector
    scores: Table
    selection: Artifact
    pairs: Table | None = None

    @property
    def ranking(self) -> Table:
        """Return every row in rank order, whether it is selected, and why."""
        return Table(self.selection, "ranking")


@dataclass(frozen=True)
class SelectionInputs(TableGroup):
    """What a selection reads: rows, scores, tokens, stages that its plan speaks of, similar pairs."""

    rows: Table
    scores: Table
    tokens: Table
    stages: Mapping[str, Table]
    pairs: Table | None = None

    def context(self) -> PlanContext:
        """Return the tables that the plan's conditions may read."""
        return PlanContext(
            rows=self.rows.scan(),
            evidence={name: table.scan() for name, table in self.stages.items()},
            pairs=None if self.pairs is None else self.pairs.read(),
        )


def rank_rows(
    scores: pl.DataFrame, tokens: pl.DataFrame, selector: Selector, seed: int
) -> pl.DataFrame:
    """Return every row in rank order: row_id, rank (from 1), score, nearest_id, tokens, unscored.

    `unscored` says why a row has no score; such rows come last.

    Raises:
        UserError: no row is left to choose from, or none could be scored.
    """
    return _ranked_table(scores, tokens, _order(scores, selector, seed))


def _order(scores: pl.DataFrame, selector: Selector, seed: int) -> RankOrder:
    if not scores.height:
        raise UserError("no row is left to select from: every row was dropped by an earlier stage")
    return order_rows(scores, selector, seed)


def _ranked_table(scores: pl.DataFrame, tokens: pl.DataFrame, order: RankOrder) -> pl.DataFrame:
    facts = scores.select("row_id", "score", "nearest_id")
    if facts["row_id"].equals(tokens["row_id"]):
        facts = facts.with_columns(tokens["tokens"])
    else:
        facts = facts.join(tokens, on="row_id", how="left", maintain_order="left")
    rank = pl.int_range(1, pl.len() + 1, dtype=pl.Int64)
    return (
        facts[order.rows]
        .select("row_id", "score", "nearest_id", "tokens", rank=rank)
        .select("row_id", "rank", "score", "nearest_id", "tokens")
        .with_columns(order.unscored)
    )


def select_by(
    run: ScoreRun, params: Selector, scores: Table, pairs: Table | None = None
) -> SelectionResult:
    """Return the selection by scores, with the selected rows.

    Args:
        run: names rows, tokens and stages.
        params: the selector, with its plan.
        scores: of the method.
        pairs: of similar rows, where the plan has diversity.
    """
    selection = run(write_selection, *_arguments(run, params, scores, pairs))
    return SelectionResult(params, scores, selection, pairs)


def rank_by(
    run: ScoreRun, params: Selector, scores: Table, pairs: Table | None = None
) -> SelectionResult:
    """Return the selection by scores as `select_by` does, without its rows: of a method to compare."""
    selection = run(write_ranking, *_arguments(run, params, scores, pairs))
    return SelectionResult(params, scores, selection, pairs)


def _arguments(
    run: ScoreRun, params: Selector, scores: Table, pairs: Table | None
) -> tuple[SelectionInputs, dict[str, Any], int, int]:
    dump = params.model_dump(mode="json")
    stages = {name: run.evidence[name] for name in named_stages(params) if name in run.evidence}
    inputs = SelectionInputs(run.rows, scores, run.tokens, stages, pairs)
    return inputs, dump, run.seed, params.version


@cached_files(version=VERSION, name="select-compared")
def write_ranking(
    out: Path, data: SelectionInputs, select: Mapping[str, JSON], seed: int, method: int
) -> Counts:
    """Write ranking.parquet: every row in rank order, whether it is selected, and why.

    Args:
        out: the folder.
        data: what the selection reads.
        select: parameters of the method, and the plan.
        seed: of what is drawn.
        method: version of the method's code, which the key knows.
    """
    params = find_method(Selector, str(select["method"])).model_validate(select)
    order, near = _stored_order(data.scores, params, seed)
    facts = data.scores.read(["row_id", "score", "nearest_id"])
    ranked = _ranked_table(facts, data.tokens.read(), order)
    ranking = choose(ranked, params, data.context())
    ranking.write_parquet(out / "ranking.parquet")
    counts = _count_choices(ranking, params)
    if Reason.UNSCORED in counts["reasons"]:
        counts["unscored"] = count_unscored(ranked["unscored"])
    if not near.all():
        counts["idle_examples"] = int((~near).sum())
    return counts


def _stored_order(
    scores: Table, selector: Selector, seed: int
) -> tuple[RankOrder, NDArray[np.bool_]]:
    """Return the rank order, and which examples have any similarity; what is read for it goes again."""
    table = scores.read()
    return _order(table, selector, seed), has_near_rows(table)


def _count_choices(ranking: pl.DataFrame, params: SelectParams) -> Counts:
    """Return how many rows a ranking selects, with how many tokens, and why it leaves the others."""
    chosen = ranking.filter("selected")
    left = ranking.filter(~pl.col("selected")).group_by("reason").len().sort("reason")
    reasons = dict(left.iter_rows())
    counts: Counts = {
        "rows_in": ranking.height,
        "rows_out": chosen.height,
        "not_selected": ranking.height - chosen.height,
        "reasons": reasons,
    }
    if not chosen["tokens"].null_count():
        counts["tokens"] = int(chosen["tokens"].sum())
    if params.budget.tokens is not None:
        counts["passed_over"] = reasons.get(Reason.PASSED_OVER, 0)
    return counts


@cached_files(version=VERSION, name="select")
def write_selection(
    out: Path, data: SelectionInputs, select: Mapping[str, JSON], seed: int, method: int
) -> Counts:
    """Write ranking.parquet as `write_ranking` does, and selected.parquet: the chosen rows."""
    counts = write_ranking(out, data, select, seed, method)
    chosen = scan_table(out / "ranking.parquet").filter("selected").select("row_id", "rank")
    selected = data.rows.scan().join(chosen, on="row_id", maintain_order="left")
    # All rows of a pool are not sorted in memory if their ranks are in its order already.
    if not selected.select("rank").collect()["rank"].is_sorted():
        selected = selected.sort("rank")
    write_table(selected.drop("rank"), out / "selected.parquet")
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
    # Who takes all rows set no budget that could be left.
    every = params.budget.fraction == 1 or counts["rows_out"] == counts["rows_in"]
    if limit.total - spent > limit.slack and (in_tokens or not every):
        remarks.append(
            f"the budget of {params.budget} is not spent: no more than {counts['rows_out']:,} rows"
            + (f" with {spent:,} tokens could be selected" if in_tokens else " could be selected")
        )
    return remarks
