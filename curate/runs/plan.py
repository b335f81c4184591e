"""Another selection from a run's stored evidence: a query of seconds, not a new run.

The run's own scores answer for its method, those in `evidence/compare/` for the methods it compares.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.methods import find_method, methods_in
from curate.core.numerals import counted
from curate.core.params import first_fault
from curate.core.reasons import EXPLAINED, Reason
from curate.core.selector import Selector
from curate.core.selectparams import Diversity, SelectParams
from curate.core.yamltext import load_setting
from curate.runs.folder import RunFolder
from curate.runs.marks import left_out_rows, pending_marks, run_command
from curate.selectors.compared import candidate_names, scoring, selection_names
from curate.selectors.planner import PAIR_FLOOR, RANKING_COLUMNS, PlanContext, choose, named_stages
from curate.selectors.selection import rank_rows


@dataclass(frozen=True)
class PlannedMarks:
    """What marks by hand since the run do to a plan.

    left_out: ranked rows that are marked to drop or corrected. waiting: marks that only a run brings in
    (rows to keep, corrected texts, marks that were taken back), by its `command`.
    """

    left_out: int = 0
    waiting: int = 0
    command: str = ""

    @property
    def remarks(self) -> list[str]:
        """Return a sentence for each of the two."""
        lines = []
        if self.left_out:
            rows = counted(self.left_out, "row")
            lines.append(f"{rows} left out: marked to drop or corrected by hand since the run")
        if self.waiting:
            marks, need = counted(self.waiting, "mark"), "needs" if self.waiting == 1 else "need"
            lines.append(f"{marks} to keep, to correct or taken back {need} a run: {self.command}")
        return lines


@dataclass(frozen=True)
class Plan:
    """A selection that was not run: what it takes and how it differs from the run's own."""

    params: Selector
    ranking: pl.DataFrame
    shared: int
    run_rows: int
    mix: pl.DataFrame
    marks: PlannedMarks = PlannedMarks()

    @property
    def remarks(self) -> list[str]:
        """Return how many rows were passed over, for want of a score or of tokens, or are marked."""
        counts = dict(self.ranking.group_by("reason").len().iter_rows())
        passed = [
            f"{counts[reason]:,} rows not selected: each {EXPLAINED[reason]}"
            for reason in (Reason.UNSCORED, Reason.PASSED_OVER)
            if reason in counts
        ]
        return [*passed, *self.marks.remarks]

    @property
    def rows(self) -> int:
        """Return how many rows it selects."""
        return int(self.ranking["selected"].sum())

    @property
    def tokens(self) -> int | None:
        """Return how many tokens of the base model it selects; None if the run counted none."""
        return tokens_of(self.ranking.filter("selected"))


def tokens_of(rows: pl.DataFrame) -> int | None:
    """Return how many tokens of the base model ranked rows have; None if these were not counted."""
    return None if rows["tokens"].null_count() else int(rows["tokens"].sum())


def plan_selection(run: RunFolder, budget: str | None, overrides: Sequence[str] = ()) -> Plan:
    """Rank the run's kept rows anew and cut them at another budget.

    Args:
        run: a finished run.
        budget: rows=N, tokens=N or fraction=F; the run's own if None.
        overrides: key=value of the select section, e.g. combine=global_max.

    Raises:
        UserError: the request is malformed, or needs evidence that the run does not hold.
    """
    selection, params = _params(run, budget, overrides)
    ranked, marks = _without_marked(run, _ranked(run, selection, params))
    ranking = choose(ranked, params, plan_context(run, params))
    before = run.table("evidence/select").filter("selected").select("row_id").collect()
    chosen = ranking.filter("selected")
    mix = (
        run.table("ledger")
        .select("row_id", "source", "origin")
        .join(chosen.lazy().select("row_id"), on="row_id", how="semi")
        .group_by("source", "origin")
        .agg(rows=pl.len())
        .sort("rows", "source", "origin", descending=[True, False, False])
        .collect()
    )
    shared = chosen.join(before, on="row_id", how="semi").height
    return Plan(params, ranking, shared, before.height, mix, marks)


def _without_marked(run: RunFolder, ranked: pl.DataFrame) -> tuple[pl.DataFrame, PlannedMarks]:
    """Return a ranking without the rows that are marked to drop or corrected since the run."""
    pending = pending_marks(run)
    if not pending:
        return ranked, PlannedMarks()
    rest = ranked.filter(~pl.col("row_id").is_in(left_out_rows(run).implode()))
    waiting = sum(mark.kind != "drop" for mark in pending.values())
    return rest, PlannedMarks(
        ranked.height - rest.height, waiting, run_command(run) if waiting else ""
    )


@dataclass(frozen=True)
class StoredSelection:
    """A selection stored in a run: its parameters and the paths of its tables."""

    name: str
    params: Selector
    ranking: str
    scores: str
    pairs: str

    @property
    def label(self) -> str:
        """Return what it is called: a race's winner by its method."""
        return self.method if self.name == "race" else self.name

    @property
    def method(self) -> str:
        """Return its method."""
        return self.params.method


def stored_selections(run: RunFolder) -> list[StoredSelection]:
    """Return the run's own selection, those that it compares with it, and those that lost a race."""
    config = run.config
    own, *names = selection_names(config.select, config.compare)
    places = "evidence/select", "evidence/scores", "evidence/select-pairs"
    selections = [StoredSelection(own, run.select, *places)]
    for name, params in zip(names, config.compare, strict=True):
        place = f"evidence/compare/{name}"
        selections.append(StoredSelection(name, params, place, f"{place}-scores", f"{place}-pairs"))
    return [*selections, *_raced(run)]


def _raced(run: RunFolder) -> list[StoredSelection]:
    """Return the selections of candidates that lost a race."""
    race = run.config.race
    if race is None:
        return []
    raced = zip(candidate_names(race), race.candidates, strict=True)
    places = [(f"evidence/race/{name}", params) for name, params in raced]
    return [
        StoredSelection(
            place.removeprefix("evidence/"), params, place, f"{place}-scores", f"{place}-pairs"
        )
        for place, params in places
        if run.has(place)
    ]


def _ranked(run: RunFolder, selection: StoredSelection, params: Selector) -> pl.DataFrame:
    """Return the stored ranking where only the plan around it changes, else a new one."""
    around = set(SelectParams.model_fields)
    if selection.params.model_dump(exclude=around) == params.model_dump(exclude=around):
        return run.table(selection.ranking).select(*RANKING_COLUMNS, unscored()).collect()
    scores = run.table(selection.scores).collect()
    return rank_rows(scores, run.table("evidence/tokens").collect(), params, run.config.seed)


def unscored() -> pl.Expr:
    """Return the column of a stored ranking that says which of its rows have no score."""
    return pl.when(pl.col("reason") == Reason.UNSCORED).then("reason").alias("unscored")


def plan_context(run: RunFolder, params: Selector) -> PlanContext:
    """Return what the conditions of a plan may read of a run."""
    rows = run.rows("pool")
    names = named_stages(params)
    pairs = _pairs(run, params.diversity) if params.diversity else None
    evidence = {
        name: run.table(f"evidence/{name}") for name in names if run.has(f"evidence/{name}")
    }
    return PlanContext(run.table("ledger") if rows is None else rows, evidence, pairs)


def _pairs(run: RunFolder, diversity: Diversity) -> pl.DataFrame:
    problem = "holds no pairs of similar rows"
    for selection in stored_selections(run):
        own = selection.params.diversity
        if own is None or not run.has(selection.pairs):
            continue
        floor = min(own.most, PAIR_FLOOR)
        if own.embedder == diversity.embedder and diversity.most >= floor:
            return run.table(selection.pairs).collect()
        problem = f"holds pairs from {floor} on"
    raise UserError(f"{run.path} {problem}; run the recipe with this select.diversity")


def _params(
    run: RunFolder, budget: str | None, overrides: Sequence[str]
) -> tuple[StoredSelection, Selector]:
    """Return what is asked for, and the selection whose scores answer it."""
    settings: dict[str, Any] = {}
    for override in overrides:
        name, separator, value = override.removeprefix("select.").partition("=")
        if not separator:
            raise UserError(f"--set {override}: write it as key=value, e.g. combine=global_max")
        settings[name] = load_setting(override, value)
    selection = _matching_selection(run, settings)
    method = (
        selection.method
        if settings.get("method") == selection.name
        else settings.get("method", selection.method)
    )
    stored_params = selection.params.model_dump(mode="json")
    if method != selection.method:
        stored_params = {"method": method, "budget": stored_params["budget"]}
    merged = {**stored_params, **settings, "method": method}
    if budget is not None:
        merged["budget"] = _budget(budget)
    return selection, _validate_params(merged, find_method(Selector, method))


def _validate_params(merged: Mapping[str, JSON], kind: type[Selector]) -> Selector:
    try:
        return kind.model_validate(merged)
    except ValidationError as error:
        place, problem = first_fault(error, kind)
        raise UserError(f"select.{place}: {problem}") from error


def _matching_selection(run: RunFolder, settings: Mapping[str, JSON]) -> StoredSelection:
    """Return the selection of the run whose scores answer for these settings.

    Raises:
        UserError: there is none.
    """
    selections = stored_selections(run)
    method = str(settings.get("method", selections[0].method))
    # A name (rds-2) is as good as a method: it says which of several of a kind is meant.
    matches = (
        [one for one in selections if one.name == method]
        if method not in methods_in(Selector)
        else []
    )
    matches = matches or [one for one in selections if one.method == method]
    if not matches and method not in methods_in(Selector):
        raise UserError(
            f"unknown method {method!r}; known: {', '.join(sorted(methods_in(Selector)))}"
        )
    if not matches:
        if not find_method(Selector, method).needs_scores:
            return selections[0]
        stored_methods = " and ".join(
            repr(name) for name in dict.fromkeys(one.method for one in selections)
        )
        raise UserError(
            f"{run.path} holds evidence for {stored_methods}, not for {method!r}; "
            f"run the recipe with --set select.method={method}"
        )
    for one in matches:
        if _fixed(one, settings) is None:
            return one
    key = _fixed(matches[0], settings)
    changeable = [*SelectParams.model_fields, *matches[0].params.rank_params]
    raise UserError(
        f"select.{key}: {run.path} holds no scores for another {key}; run the recipe with "
        f"--set select.{key}=... (here you can change {', '.join(changeable)})"
    )


def _fixed(selection: StoredSelection, settings: Mapping[str, JSON]) -> str | None:
    """Return the first setting that went into the stored scores with another value."""
    fixed = scoring(selection.params)
    for name, value in settings.items():
        key = name.split(".")[0]
        if key != "method" and key in fixed and (key != name or fixed[key] != value):
            return name
    return None


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
