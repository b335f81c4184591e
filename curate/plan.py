"""Another selection from a run's stored evidence: a query of seconds, not a new run."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml
from pydantic import ValidationError

from curate.errors import UserError
from curate.folder import RunFolder
from curate.registry import SELECTORS, Diversity, SelectParams, known_keys, suggest_key
from curate.select.planner import PAIR_FLOOR, RANKING_COLUMNS, Facts, choose, named_stages
from curate.select.selection import rank_rows


@dataclass(frozen=True)
class Plan:
    """A selection that was not run: what it takes and how it differs from the run's own."""

    params: SelectParams
    ranking: pl.DataFrame
    shared: int
    run_rows: int
    mix: pl.DataFrame

    @property
    def rows(self) -> int:
        """Return how many rows it selects."""
        return int(self.ranking["selected"].sum())

    @property
    def tokens(self) -> int:
        """Return how many tokens of the base model it selects."""
        return int(self.ranking.filter("selected")["tokens"].sum())


def plan_selection(run: RunFolder, budget: str | None, overrides: Sequence[str] = ()) -> Plan:
    """Rank the run's kept rows anew and cut them at another budget.

    Args:
        run: a finished run.
        budget: rows=N, tokens=N or fraction=F; the run's own if None.
        overrides: key=value of the select section, e.g. combine=global_max.

    Raises:
        UserError: the request is malformed, or needs evidence that the run does not hold.
    """
    params = _params(run, budget, overrides)
    ranking = choose(_ranked(run, params), params, _facts(run, params))
    before = run.table("evidence/select").filter("selected").select("row_id").collect()
    chosen = ranking.filter("selected")
    pool = run.table("ledger").select("row_id", "source", "origin").collect()
    mix = (
        chosen.join(pool, on="row_id")
        .group_by("source", "origin")
        .agg(rows=pl.len())
        .sort("rows", "source", "origin", descending=[True, False, False])
    )
    shared = chosen.join(before, on="row_id", how="semi").height
    return Plan(params, ranking, shared, before.height, mix)


def _ranked(run: RunFolder, params: SelectParams) -> pl.DataFrame:
    """Return the run's own ranking where only the plan around it changes, else a new one."""
    own = run.config.select
    around = set(SelectParams.model_fields)
    if own.model_dump(exclude=around) == params.model_dump(exclude=around):
        return run.table("evidence/select").select(RANKING_COLUMNS).collect()
    scores = run.table("evidence/scores").collect()
    return rank_rows(scores, run.table("evidence/tokens").collect(), params, run.config.seed)


def _facts(run: RunFolder, params: SelectParams) -> Facts:
    rows = run.rows("pool")
    names = named_stages(params)
    pairs = _pairs(run, params.diversity) if params.diversity else None
    evidence = {
        name: run.table(f"evidence/{name}") for name in names if run.has(f"evidence/{name}")
    }
    return Facts(run.table("ledger") if rows is None else rows, evidence, pairs)


def _pairs(run: RunFolder, wanted: Diversity) -> pl.DataFrame:
    own = run.config.select.diversity
    floor = min(own.most, PAIR_FLOOR) if own else None
    if own is None or floor is None or own.embedder != wanted.embedder or wanted.most < floor:
        held = "holds no pairs of similar rows" if own is None else f"holds pairs from {floor} on"
        raise UserError(f"{run.path} {held}; run the recipe with this select.diversity")
    return run.table("evidence/select-pairs").collect()


def _params(run: RunFolder, budget: str | None, overrides: Sequence[str]) -> SelectParams:
    own = run.config.select.model_dump(mode="json")
    wanted: dict[str, Any] = {}
    for override in overrides:
        name, separator, value = override.removeprefix("select.").partition("=")
        if not separator:
            raise UserError(f"--set {override}: write it as key=value, e.g. combine=global_max")
        wanted[name] = yaml.safe_load(value)
    method = wanted.get("method", own["method"])
    if method not in SELECTORS:
        raise UserError(f"unknown method {method!r}; known: {', '.join(sorted(SELECTORS))}")
    if method != own["method"] and SELECTORS[method].needs_scores:
        raise UserError(
            f"{run.path} holds evidence for {own['method']!r}, not for {method!r}; "
            f"run the recipe with --set select.method={method}"
        )
    if method == own["method"]:
        _check_movable(run, wanted, method)
    kept = own if method == own["method"] else {"method": method, "budget": own["budget"]}
    merged = {**kept, **wanted}
    if budget is not None:
        merged["budget"] = _budget(budget)
    try:
        return SELECTORS[method].params.model_validate(merged)
    except ValidationError as error:
        fault = error.errors()[0]
        place = ".".join(str(part) for part in fault["loc"])
        told = fault["msg"].removeprefix("Value error, ")
        if fault["type"] == "extra_forbidden":
            known = known_keys(SELECTORS[method].params, fault["loc"][:-1])
            told = suggest_key(str(fault["loc"][-1]), known)
        raise UserError(f"select.{place}: {told}") from error


def _check_movable(run: RunFolder, wanted: Mapping[str, Any], method: str) -> None:
    """Fail where a changed parameter went into the stored scores."""
    movable = [*SelectParams.model_fields, *SELECTORS[method].movable, "method"]
    for name in wanted:
        key = name.split(".")[0]
        if key in SELECTORS[method].params.model_fields and key not in movable:
            raise UserError(
                f"select.{name}: {run.path} holds no scores for another {key}; run the recipe with "
                f"--set select.{name}=... (here you can change {', '.join(movable[:-1])})"
            )


def _budget(text: str) -> dict[str, Any]:
    name, separator, value = text.partition("=")
    if not separator:
        name, value = "rows", text
    try:
        number = float(value) if name == "fraction" else int(value)
    except ValueError as error:
        raise UserError(
            f"--budget {text}: write it as rows=200, tokens=50000 or fraction=0.05"
        ) from error
    return {name: number}
