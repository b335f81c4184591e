"""The planner: which rows of a ranking are selected, under a condition, caps, quotas and a budget.

It never scores anything: it goes down a ranking that is there, so another plan is a query of seconds.

    filter      rows that do not meet it are out
    diversity   a row too similar to one that ranks higher, and is not passed over itself, is out
    shares      groups with a quota come first until they have it; no group gets more than its cap
    budget      the best rows of the rest; of tokens, rows that do not fit any more are passed over
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from polars.exceptions import PolarsError

from curate.core.budget import BudgetLimit, BudgetOutcome, Cap, limit_of, spend
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.selectparams import SelectParams, Share
from curate.core.sql import excerpt, parse_expression
from curate.selectors.recordfields import NAME as RECORD
from curate.selectors.recordfields import record_fields
from curate.text.pairs import dominate_pairs, number_pairs

# Pairs of similar rows are stored from here on, so that another plan can pass over more of them.
PAIR_FLOOR = 0.8
RANKING_COLUMNS = ("row_id", "rank", "score", "nearest_id", "tokens")
# What a condition may say of a row: columns, and what is counted in its messages.
ROW_COLUMNS: Mapping[str, pl.Expr] = {
    **{name: pl.col(name) for name in ("row_id", "source", "origin", "method", "hop")},
    "turns": pl.col("messages").list.len().cast(pl.Int64),
    "characters": pl.col("messages")
    .list.eval(pl.element().struct.field("content").str.len_chars().cast(pl.Int64))
    .list.sum(),
    # Of a record its fields: curate.selectors.recordfields.
    RECORD: pl.col(RECORD),
}
CODES = {reason: number for number, reason in enumerate(Reason)}
OUTCOMES = {
    BudgetOutcome.TAKEN: Reason.WITHIN_BUDGET,
    BudgetOutcome.PASSED_OVER: Reason.PASSED_OVER,
    BudgetOutcome.OVER_CAP: Reason.OVER_SHARE,
    BudgetOutcome.BEYOND: Reason.BEYOND_BUDGET,
}
OUTCOME_CODES = np.array([CODES[OUTCOMES[outcome]] for outcome in BudgetOutcome], dtype=np.int8)
# No budget, however large, would buy rows with these.
FOR_GOOD = [CODES[Reason.FILTERED_OUT], CODES[Reason.UNSCORED]]
# What stands in a row's way where the budget does not.
UNSPENT = [*FOR_GOOD, CODES[Reason.OVER_SHARE], CODES[Reason.TOO_SIMILAR]]
# Columns of a ranking that each method fills on a scale of its own.
OWN_COLUMNS = frozenset(("score", "nearest_id"))


@dataclass(frozen=True)
class PlanContext:
    """The tables that a plan's conditions may read: rows, evidence by stage, pairs of similar rows."""

    rows: pl.LazyFrame
    evidence: Mapping[str, pl.LazyFrame] = field(default_factory=dict)
    pairs: pl.DataFrame | None = None


def named_stages(params: SelectParams) -> list[str]:
    """Return the names in a plan's conditions that are no columns of rows or rankings: stages.

    Raises:
        UserError: a condition is no SQL expression.
    """
    return [name for name in named_columns(params) if name not in (*RANKING_COLUMNS, *ROW_COLUMNS)]


def named_columns(params: SelectParams) -> list[str]:
    """Return all names in a plan's conditions: columns and stages.

    Raises:
        UserError: a condition is no SQL expression.
    """
    texts = [("filter", params.filter)] if params.filter is not None else []
    texts += [("shares", share.by) for share in params.shares]
    names = (name for key, text in texts for name in _parse(key, text).meta.root_names())
    return list(dict.fromkeys(names))


def common_plan(params: SelectParams) -> dict[str, Any]:
    """Return what of a selection's plan holds for another method as well.

    That is its budget and diversity, and its conditions unless they speak of scores: these have
    another scale, or are not there at all, where another method ranks.
    """
    filters = [] if params.filter is None else [("filter", params.filter)]
    by = [("shares", share.by) for share in params.shares]
    return {
        "budget": params.budget,
        "filter": params.filter if _is_common(filters) else None,
        "shares": params.shares if _is_common(by) else [],
        "diversity": params.diversity,
    }


def _is_common(conditions: Sequence[tuple[str, str]]) -> bool:
    return not any(OWN_COLUMNS & {*_parse(key, text).meta.root_names()} for key, text in conditions)


def _parse(key: str, text: str) -> pl.Expr:
    try:
        return parse_expression(text)
    except UserError as error:
        raise UserError(f"select.{key}: {error}") from error


def choose(ranking: pl.DataFrame, params: SelectParams, context: PlanContext) -> pl.DataFrame:
    """Return the ranking with what is selected of it, and why the rest is not.

    Args:
        ranking: row_id, rank, score, nearest_id, tokens, in rank order; where there is a column
            `unscored`, rows that have a reason there are never selected.
        params: budget, filter, shares, diversity.
        context: what the conditions speak of.

    Returns:
        The ranking with selected and reason.

    Raises:
        UserError: a condition names what is not there, or nothing meets it.
    """
    tokens = _tokens(ranking, params)
    reason = np.full(ranking.height, CODES[Reason.BEYOND_BUDGET], dtype=np.int8)
    free = np.ones(ranking.height, dtype=np.bool_)
    if params.filter is not None:
        met = _meets_filter(ranking, params.filter, context)
        reason[~met] = CODES[Reason.FILTERED_OUT]
        free &= met
    if "unscored" in ranking.columns:
        unscored = ranking["unscored"].is_not_null().to_numpy()
        reason[unscored] = CODES[Reason.UNSCORED]
        free &= ~unscored
        if not free.any():
            raise UserError("select.filter: no row that could be scored meets the condition")
    shortest = int(tokens[free].min())
    if params.budget.tokens is not None:
        # Left in, they would stand in the way of rows that are similar to them.
        short = tokens <= params.budget.tokens
        reason[free & ~short] = CODES[Reason.PASSED_OVER]
        free &= short
    if params.diversity is not None:
        apart = _unlike_higher_rows(ranking, free, params.diversity.most, context)
        reason[free & ~apart] = CODES[Reason.TOO_SIMILAR]
        free &= apart
    rows, outcomes, spent = _spend_budget(ranking, params, context, free, tokens)
    reason[rows] = OUTCOME_CODES[outcomes]
    selected = reason == CODES[Reason.WITHIN_BUDGET]
    if not selected.any():
        raise UserError(_nothing_fits(params, shortest, reason))
    if params.model_dump()["method"] == "all" and params.budget.fraction == 1:
        reason[selected] = CODES[Reason.KEPT]
    # Below the last chosen row a budget that is spent stands in the way, whatever else does.
    last = int(np.flatnonzero(selected)[-1])
    below = (np.arange(len(reason)) > last) & ~np.isin(reason, FOR_GOOD if spent else UNSPENT)
    reason[below] = CODES[Reason.BEYOND_BUDGET]
    words = pl.Series([name.value for name in CODES])
    return ranking.drop("unscored", strict=False).with_columns(
        selected=selected, reason=words.gather(reason)
    )


def _meets_filter(ranking: pl.DataFrame, condition: str, context: PlanContext) -> NDArray[np.bool_]:
    """Return which rows meet an SQL condition; what it cannot judge for a row (null) is not met."""
    expression = _parse("filter", condition)
    try:
        column = look_up(ranking, expression, context, condition).select(met=expression)["met"]
    except PolarsError as error:
        raise UserError(
            f"select.filter: {excerpt(condition)}: {str(error).splitlines()[0]}"
        ) from error
    if column.dtype != pl.Boolean:
        raise UserError(
            f"select.filter: {excerpt(condition)} is no condition: it gives {column.dtype}"
        )
    met: NDArray[np.bool_] = column.fill_null(value=False).to_numpy()
    if len(column) == 1 < ranking.height:
        met = np.repeat(met, ranking.height)
    if not met.any():
        raise UserError(f"select.filter: no row meets {excerpt(condition)}")
    return met


def look_up(
    ranking: pl.DataFrame, expression: pl.Expr, context: PlanContext, text: str
) -> pl.DataFrame:
    """Return the ranking, in its order, with the row columns and stages that an expression names.

    A stage is a struct of its evidence, so that `fuzzy.score` is a field of it, as `meta.topic` is one
    of a row's record. `text` is the expression as it is written.

    Raises:
        UserError: there is no such column or stage.
    """
    names = [name for name in expression.meta.root_names() if name not in ranking.columns]
    table = ranking.lazy()
    for name in names:
        if name in ROW_COLUMNS:
            values = _row_column(context.rows, name)
            values = record_fields(values, text) if name == RECORD else values
            table = table.join(values, on="row_id", how="left", maintain_order="left")
        elif name in context.evidence:
            fields = context.evidence[name].select(
                "row_id", pl.struct(pl.exclude("row_id")).alias(name)
            )
            table = table.join(fields, on="row_id", how="left", maintain_order="left")
        else:
            available = dict.fromkeys([*ranking.columns, *ROW_COLUMNS, *context.evidence])
            raise UserError(f"select: nothing is named {name!r}; known: " + ", ".join(available))
    return table.collect()


def _row_column(rows: pl.LazyFrame, name: str) -> pl.LazyFrame:
    """Return row_id and what a condition says of rows by this name.

    Raises:
        UserError: it is counted in messages, and those are not there.
    """
    columns = rows.collect_schema()
    missing = [root for root in ROW_COLUMNS[name].meta.root_names() if root not in columns]
    if missing:
        raise UserError(
            f"select: {name!r} is read from the rows, which the store has lost; run `curate run` again"
        )
    return rows.select("row_id", ROW_COLUMNS[name].alias(name))


def _tokens(ranking: pl.DataFrame, params: SelectParams) -> NDArray[np.int64]:
    """Return the tokens of the rows; 0 where the run counted none and the plan needs none."""
    tokens = ranking["tokens"]
    if tokens.null_count() and (
        params.budget.tokens is not None or "tokens" in named_columns(params)
    ):
        raise UserError(
            "the rows of this run were not counted in tokens, since its recipe did not need it; run "
            "the recipe with this budget or condition"
        )
    counted: NDArray[np.int64] = tokens.fill_null(0).to_numpy().astype(np.int64)
    return counted


def _unlike_higher_rows(
    ranking: pl.DataFrame, free: NDArray[np.bool_], most: float, context: PlanContext
) -> NDArray[np.bool_]:
    if context.pairs is None:
        raise ValueError("diversity needs pairs of similar rows")
    pairs = number_pairs(ranking["row_id"], context.pairs)
    return dominate_pairs(pairs, free, most)


def _spend_budget(
    ranking: pl.DataFrame,
    params: SelectParams,
    context: PlanContext,
    free: NDArray[np.bool_],
    tokens: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[np.int8], bool]:
    """Return the free rows and their outcomes, and whether the budget is spent.

    Rows for the quota of a group are met first.
    """
    rows = np.flatnonzero(free)
    in_tokens = params.budget.tokens is not None
    cost = tokens[rows] if in_tokens else np.ones(len(rows), dtype=np.int64)
    limit = limit_of(params.budget, ranking.height)
    # Shares are of what can be spent.
    total = limit.total if in_tokens else min(limit.total, len(rows))
    caps, quotas = [], []
    for share in params.shares:
        code, names = _groups(ranking, share, context)
        most = np.array([share.cap(name) for name in names])
        least = np.array([share.least.get(name, 0.0) for name in names])
        caps.append(Cap(code[rows], np.where(most < 1, most * total, np.inf)))
        quotas.append(Cap(code[rows], least * total))
    later = np.ones(len(rows), dtype=np.bool_)
    for quota in quotas:
        later &= spend(cost, BudgetLimit(np.inf), [*caps, quota]) != BudgetOutcome.TAKEN
    order = np.argsort(later, kind="stable")
    ordered = [Cap(cap.group[order], cap.limit) for cap in caps]
    outcomes = spend(cost[order], limit, ordered)
    left = limit.total - int(cost[order][outcomes == BudgetOutcome.TAKEN].sum())
    return rows[order], outcomes, left <= limit.slack


def _nothing_fits(params: SelectParams, shortest: int, reason: NDArray[np.int8]) -> str:
    if (reason == CODES[Reason.OVER_SHARE]).any():
        return "select.shares: the caps leave no row within the budget; raise one of them"
    return (
        f"select.budget: no row fits into {params.budget}: the shortest that could be selected has "
        f"{shortest:,}; raise the budget"
    )


def _groups(
    ranking: pl.DataFrame, share: Share, context: PlanContext
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each row's group, and the names of the groups."""
    expression = _parse("shares", share.by)
    try:
        groups = look_up(ranking, expression, context, share.by).select(
            group=expression.cast(pl.String)
        )["group"]
    except PolarsError as error:
        raise UserError(
            f"select.shares: {excerpt(share.by)}: {str(error).splitlines()[0]}"
        ) from error
    names = groups.fill_null("").unique().sort()
    code = groups.fill_null("").replace_strict(names, pl.int_range(len(names), eager=True))
    unknown = {*share.least, *(share.most if isinstance(share.most, dict) else ())} - set(names)
    if unknown:
        raise UserError(
            f"select.shares: no row has the {share.by:.80} {sorted(unknown)[0]!r}; "
            f"there are {', '.join(names[:10])}"
        )
    return code.to_numpy(), names.to_list()
