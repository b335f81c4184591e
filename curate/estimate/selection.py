"""What selections and compared ones take."""

from collections.abc import Iterator
from typing import Any

from curate.config.recipe import Config
from curate.core.selectparams import Budget
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.lines import EstimateLine
from curate.estimate.pace import Range
from curate.selectors.compared import candidate_names, scoring, selection_names
from curate.selectors.parts import response_limits
from curate.selectors.race import RaceParams
from curate.selectors.vectors import VectorParams


def choice_lines(
    config: Config, rows: int, base: BaseModel, embedding: Embedding
) -> Iterator[EstimateLine]:
    """Yield a line for the selection and for each compared one; what is scored alike costs once."""
    names = selection_names(config.select, config.compare)
    if isinstance(config.select, RaceParams):
        names = [*candidate_names(config.select), *names[1:]]
    raced = len(config.choices) - len(config.compare)
    scored: list[dict[str, Any]] = []
    for i, (name, (_, params)) in enumerate(zip(names, config.choices, strict=True)):
        stage = "compare" if i >= raced else "select"
        fixed, tokens, seconds = scoring(params), Range(), Range()
        if fixed not in scored and "max_length" in fixed:
            tokens = base.mean_tokens("pool", fixed["max_length"]) * rows
        if isinstance(params, VectorParams):
            seconds = embedding.seconds(params.compare, params.embedder)
        scored.append(fixed)
        does = "; ".join(
            [f"{name}, budget {params.budget}", *base.unread("pool", response_limits(params))]
        )
        yield EstimateLine(stage, rows, does, round(tokens.likely), base.seconds(tokens) + seconds)


def largest_choice(config: Config, rows: int, base: BaseModel) -> int:
    """Return how many rows the run's own selection has; of a race, those of the largest candidate."""
    budgets = [p.budget for place, p in config.choices if place[0] == "select"]
    length = base.mean_tokens("pool").likely
    return max(budget_rows(budget, rows, length) for budget in budgets)


def budget_rows(budget: Budget, rows: int, mean_tokens: float) -> int:
    """Return how many of so many rows a budget buys."""
    if budget.rows is not None:
        return min(budget.rows, rows)
    if budget.fraction is not None:
        return max(round(budget.fraction * rows), 1)
    return min(max(round((budget.tokens or 0) / mean_tokens), 1), rows)
