"""What selections and compared ones take."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from curate.config.recipe import Config
from curate.core.selector import Selector
from curate.core.selectparams import Budget
from curate.estimate.base_model import BaseModel
from curate.estimate.embedding import Embedding
from curate.estimate.lines import EstimateLine, calls_sentences
from curate.estimate.pace import Range
from curate.selectors.compared import candidate_names, scoring, selection_names


@dataclass
class Scoring:
    """What it takes to score so many rows; what was scored alike before takes nothing."""

    rows: int
    base: BaseModel
    embedding: Embedding
    done: list[tuple[dict[str, Any], int]] = field(default_factory=list)

    def line(self, stage: str, name: str, selector: Selector) -> EstimateLine:
        """Return the line of a selection: what its method, or each part of it, takes."""
        tokens, seconds, calls = Range(), Range(), 0
        does = [f"{name}, budget {selector.budget}"]
        for member, share in selector.members():
            rows = round(share * self.rows)
            work, scores = member.cost(rows), (scoring(member), rows)
            # A part of a cascade reads rows of its own.
            read = work if share == 1 else replace(work, heads=())
            tokens += self.base.read_tokens(read, rows) if scores not in self.done else Range()
            seconds += self.embedding.seconds(work)
            calls += work.calls
            does += calls_sentences(work) + self.base.unread("pool", work.limit)
            self.done.append(scores)
        if selector.on_targets:
            does.append(
                f"on 8 real targets {selector.on_targets} (docs/real-targets.md): for a mixture or for "
                "variety, not to beat random rows at a skill"
            )
        seconds += self.base.seconds(tokens)
        does = list(dict.fromkeys(does))
        return EstimateLine(
            stage, self.rows, "; ".join(does), round(tokens.likely), seconds, asks=calls > 0
        )


def choice_lines(
    config: Config, rows: int, base: BaseModel, embedding: Embedding
) -> Iterator[EstimateLine]:
    """Yield a line for the selection, or for each candidate of a race, and for each compared one."""
    names = selection_names(config.select, config.compare)
    if config.race is not None:
        names = [*candidate_names(config.race), *names[1:]]
    work = Scoring(rows, base, embedding)
    for name, (place, selector) in zip(names, config.choices, strict=True):
        yield work.line(str(place[0]), name, selector)


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
