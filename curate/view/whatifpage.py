"""What if: another threshold of a stage, or another selection, answered from what the run stored."""

import shlex
from dataclasses import dataclass, field
from functools import partial
from threading import RLock

import polars as pl
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from curate.core.cut import CutParams
from curate.core.errors import UserError
from curate.core.stage import Stage
from curate.runs.folder import damage_explained
from curate.runs.plan import stored_selections
from curate.runs.rethreshold import stage_data, sweep
from curate.view.context import ViewContext
from curate.view.excerpts import read_excerpts
from curate.view.sweepchart import draw_sweep
from curate.view.whatif import (
    WhatIfAnswer,
    plan_answer,
    stages_with_thresholds,
    threshold_answer,
)
from curate.view.whatifquery import (
    COUNTS,
    GROUPS,
    SELECT,
    PlanQuery,
    ThresholdQuery,
    plan_of_run,
    plan_settings,
)

# Thresholds of a chart: stored pairs answer for many at once, a stage that cuts judges anew for each.
POINTS, CUT_POINTS = 33, 9


@dataclass
class Sweeps:
    """The sweeps of a run's stages, each made at its first use."""

    context: ViewContext
    _sweeps: dict[str, pl.DataFrame] = field(default_factory=dict)
    _lock: RLock = field(default_factory=RLock)

    def of(self, name: str, stage: Stage) -> pl.DataFrame:
        """Return how many rows each threshold of a stage would drop."""
        with self._lock:
            if name not in self._sweeps:
                points = CUT_POINTS if isinstance(stage, CutParams) else POINTS
                self._sweeps[name] = sweep(stage_data(self.context.run, name), stage, points)
            return self._sweeps[name]


def routes(context: ViewContext) -> list[Route]:
    """Return the address of the page."""
    return [Route("/whatif", partial(whatif_page, context=context, sweeps=Sweeps(context)))]


def whatif_page(request: Request, context: ViewContext, sweeps: Sweeps) -> Response:
    """Return the page of what the address asks for: the selection, or a stage's threshold."""
    stages, of = stages_with_thresholds(context.run), request.query_params.get("of", SELECT)
    if of != SELECT and of not in stages:
        raise UserError(f"of={of}: the run has no stage of this name with a threshold to move")
    with damage_explained(context.run.path):
        if of == SELECT:
            return _plan_page(request, context, list(stages))
        return _threshold_page(request, context, sweeps, stages, of)


def _plan_page(request: Request, context: ViewContext, tabs: list[str]) -> Response:
    run, own = context.run, plan_of_run(context.run)
    query = PlanQuery.of(request.query_params, own)
    answer, fault = None, ""
    try:
        answer = plan_answer(run, *plan_settings(run, query))
    except UserError as error:
        fault = str(error)
    return context.render(
        request,
        "whatif_plan.html.j2",
        status=400 if fault else 200,
        tabs=tabs,
        of=SELECT,
        query=query,
        own=own,
        counts=COUNTS,
        groups=GROUPS,
        methods=list(dict.fromkeys(one.label for one in stored_selections(run))),
        similar=any(one.params.diversity and run.has(one.pairs) for one in stored_selections(run)),
        limit=_limit(context, query.count),
        **_answer_values(context, answer, fault),
    )


def _limit(context: ViewContext, count: str) -> float:
    """Return the largest budget that makes sense: all rows that were kept, or their tokens."""
    if count == "fraction":
        return 1
    kept = context.run.table("evidence/select").select(pl.len(), pl.col("tokens").sum()).collect()
    rows, tokens = kept.row(0)
    return float(tokens if count == "tokens" else rows)


def _threshold_page(
    request: Request, context: ViewContext, sweeps: Sweeps, stages: dict[str, Stage], of: str
) -> Response:
    run, stage = context.run, stages[of]
    threshold = run.table(f"evidence/{of}").select(pl.col("threshold").min()).collect().item()
    own = "" if threshold is None else f"{threshold:.4g}"
    query, answer, fault = ThresholdQuery.of(request.query_params, of, own), None, ""
    try:
        answer = threshold_answer(run, of, query.overrides)
    except UserError as error:
        fault = str(error)
    swept = sweeps.of(of, stage)
    return context.render(
        request,
        "whatif_threshold.html.j2",
        status=400 if fault else 200,
        tabs=list(stages),
        of=of,
        stage=stage,
        query=query,
        own=own,
        low=swept["threshold"].min(),
        high=swept["threshold"].max(),
        settings=[name for name in stage.rethresholdable if name != "threshold"],
        chart=draw_sweep(swept, threshold, answer.threshold if answer else None),
        **_answer_values(context, answer, fault),
    )


def _answer_values(
    context: ViewContext, answer: WhatIfAnswer | None, fault: str
) -> dict[str, object]:
    """Return what the part of a page with the answer needs."""
    examples = [one for change in answer.changes for one in change.examples] if answer else []
    ids = [row_id for one in examples for row_id in (one.row_id, one.duplicate_of) if row_id]
    return {
        "answer": answer,
        "fault": fault,
        "excerpts": read_excerpts(context.run, ids),
        "recipe": recipe_path(context),
    }


def recipe_path(context: ViewContext) -> str:
    """Return what the run's own command calls its recipe, RECIPE where that is not known."""
    words = shlex.split(str(context.run.manifest.get("run", {}).get("command", "")))
    return shlex.quote(words[2]) if words[:2] == ["curate", "run"] and len(words) > 2 else "RECIPE"
