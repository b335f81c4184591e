"""A selection of rows: those that a method takes, in order, and other plans from the same scores."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from curate.api.progress import showing_in_notebook
from curate.api.rows import (
    RowSource,
    displayed,
    examples_of,
    holds_records,
    pool_of,
    record_numbers,
)
from curate.api.session import (
    STORE,
    changed_recipe,
    recipe_of,
    started_run,
    written_settings,
)
from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.selectparams import Budget
from curate.core.tables import read_table
from curate.models.settings import ModelNames
from curate.pipeline.run import Run
from curate.pipeline.selection import select_rows
from curate.pool.settings import Target
from curate.selectors.selection import SelectionResult


@dataclass(frozen=True)
class Selection:
    """The rows that a method selects.

    Attributes:
        rows: the selected ones, best first, with their turns.
        ranking: every row: rank, score, nearest target example, selected, reason.
        indices: the numbers, from 0, of the selected records in what the pool was given as, best first;
            of paths, the numbers of the selected among the rows that were read.
    """

    rows: pl.DataFrame
    ranking: pl.DataFrame
    indices: list[int]
    _run: Run
    _result: SelectionResult
    _recipe: Config
    _by_record: bool

    def plan(self, **settings: Any) -> Selection:
        """Return another selection from the same scores: rows=, tokens=, fraction=, filter=, shares= ...

        Example: selection.plan(rows=200)
        """
        select = {**written_settings(self._recipe.select), **_with_budget(settings)}
        return choose(changed_recipe(self._recipe, select=select), self._by_record)

    def explain(self, row_id: str) -> dict[str, Any]:
        """Return what is stored of a row: its rank and score, or the stage and reason of its drop.

        Raises:
            UserError: there is no such row.
        """
        ranked = self.ranking.filter(row_id=row_id)
        if ranked.height:
            return {"row_id": row_id, "stage": "select", **ranked.row(0, named=True)}
        for name, verdicts in self._run.evidence.items():
            line = verdicts.scan().filter(pl.col("row_id") == row_id, ~pl.col("keep")).collect()
            if line.height:
                return {"row_id": row_id, "stage": name, **line.row(0, named=True)}
        ids = self._run.rows.read(["row_id"])["row_id"].head(2).to_list()
        raise UserError(f"there is no row {row_id!r}; ids look like {', '.join(ids)}")

    def __repr__(self) -> str:
        return f"{self._summary}\n{displayed(self.rows)}"

    def _repr_html_(self) -> str:
        return f"<p>{self._summary}</p>{displayed(self.rows)._repr_html_()}"

    @property
    def _summary(self) -> str:
        method = self._result.params.method
        return f"{self.rows.height:,} of {self.ranking.height:,} rows by {method}"


def select(
    pool: RowSource,
    target: RowSource | None = None,
    *,
    method: str = "rds",
    rows: int | None = None,
    tokens: int | None = None,
    fraction: float | None = None,
    models: ModelNames | dict[str, Any] | None = None,
    seed: int = 0,
    store: str | Path = STORE,
    **settings: Any,
) -> Selection:
    """Return the rows that a method selects.

    Args:
        pool: the rows to choose from, see `curate.read`.
        target: a few examples of the wanted skill, for methods that compare with them.
        method: of `curate methods`.
        rows: how many; or give tokens, or a fraction.
        tokens: of the base model.
        fraction: of the rows.
        models: base, embedder and dtype, as in a recipe.
        seed: of what is drawn.
        store: folder of stored results.
        settings: of the method, such as combine="global_max".

    Raises:
        UserError: a setting is at fault, or no row could be scored.
    """
    plan = {"rows": rows, "tokens": tokens, "fraction": fraction, **settings}
    recipe = recipe_of(
        store,
        **pool_of(pool, store).settings,
        target=None if target is None else _target_of(target, store),
        select={"method": method, **_with_budget(plan)},
        models=models or {},
        seed=seed,
    )
    return choose(recipe, holds_records(pool))


def _target_of(source: RowSource, store: str | Path) -> Target:
    """Return what a recipe names to read target examples, which are of one file.

    Raises:
        UserError: they are of several.
    """
    file, *others = examples_of(source, store, "target")
    if others:
        raise UserError("target: give one file, or the examples themselves")
    return Target(**written_settings(file))


def _with_budget(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings with rows, tokens and fraction made a budget, where one of them is given."""
    budget = {n: settings[n] for n in Budget.model_fields if settings.get(n) is not None}
    rest = {n: value for n, value in settings.items() if n not in Budget.model_fields}
    return {**rest, "budget": budget} if budget else rest


def choose(recipe: Config, by_record: bool) -> Selection:
    """Return the selection of a recipe, its indices those of records or of rows that were read."""
    run = started_run(recipe)
    run.part = "select"
    with showing_in_notebook():
        chosen = select_rows(run)
    (result,) = run.selections.values()
    ranking = result.ranking.read()
    rows = read_table(chosen.file("selected.parquet"))
    indices = record_numbers(rows["row_id"]) if by_record else _positions(rows, run)
    return Selection(rows, ranking, indices, run, result, recipe, by_record)


def _positions(rows: pl.DataFrame, run: Run) -> list[int]:
    """Return the numbers, from 0, of rows among all of a run."""
    positions = run.rows.read(["row_id"]).with_row_index("position")
    places = rows.select("row_id").join(positions, on="row_id", how="left", maintain_order="left")
    return places["position"].to_list()
