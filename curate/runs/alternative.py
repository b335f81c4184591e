"""Another selection from a run's evidence, to be saved: its rows, and the recipe that makes it.

    runs/quickstart/selections/small/selected.parquet   its rows, which a proof takes as an arm
    runs/quickstart/selections/small/recipe.yaml        a run of this makes and proves it

The run's own files stay as they are; a later run into the folder leaves `selections` where it is.
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import yaml

from curate.config.loading import recipe_of_settings
from curate.config.names import stage_names
from curate.config.recipe import Config, recipe_model
from curate.core.errors import UserError
from curate.core.interrupt import scratch_folder
from curate.core.jsontypes import JSON
from curate.core.names import check_name
from curate.runs.folder import RunFolder
from curate.runs.marks import left_out_rows, marked_recipe, pending_marks
from curate.runs.plan import Plan, plan_context, stored_selections, unscored
from curate.runs.publish import temporary_name
from curate.runs.rethreshold import RethresholdResult
from curate.selectors.planner import RANKING_COLUMNS, choose
from curate.selectors.selection import rank_rows

FOLDER = "selections"
SELECTED, RECIPE = "selected.parquet", "recipe.yaml"


@dataclass(frozen=True)
class Alternative:
    """A selection that no run has made.

    ranking: row_id, rank, selected and more. changes: the keys of the run's recipe that differ. absent:
    rows that it might hold as well, but that have no scores, or no verdicts of later stages. marked: its
    recipe reads the marks by hand that are saved beside the run.
    """

    ranking: pl.DataFrame
    changes: dict[str, JSON]
    absent: int = 0
    marked: bool = False

    def rows(self, run: RunFolder) -> pl.DataFrame:
        """Return the selected rows, best first.

        Raises:
            UserError: the store no longer has the pool.
        """
        pool = run.rows("pool")
        if pool is None:
            raise UserError(f"{run.path}: the store has lost the rows; run `curate run` again")
        chosen = self.ranking.lazy().filter("selected").select("row_id", "rank")
        return pool.join(chosen, on="row_id").sort("rank").drop("rank").collect()

    def recipe(self, run: RunFolder, name: str) -> Config:
        """Return the recipe that makes it by a run of its own."""
        own = marked_recipe(run) if self.marked else run.config
        settings = own.model_dump(mode="json") | {"name": name} | self.changes
        return recipe_of_settings({**settings, "store": run.manifest["store"]}, recipe_model())


def planned_alternative(planned: Plan) -> Alternative:
    """Return the selection of a plan."""
    changes: dict[str, JSON] = {"select": planned.params.model_dump(mode="json")}
    return Alternative(planned.ranking, changes, marked=bool(planned.marks.remarks))


def rethresholded_alternative(run: RunFolder, result: RethresholdResult) -> Alternative:
    """Return the run's selection as it is by a stage's new verdicts, without rows marked since the run.

    Rows that now go make room for the next in rank. Rows that come back join only where nothing else
    would have to judge or score them: behind the last stage, for a method that needs no scores.
    """
    own = marked_recipe(run) if pending_marks(run) else run.config
    names = stage_names(own.stages)
    stages = [stage.model_dump(mode="json") for stage in own.stages]
    stages[names.index(result.stage)] = result.params.model_dump(mode="json")
    goes = pl.concat([result.evidence.filter(keep=False)["row_id"], left_out_rows(run)])
    ranking = run.table(stored_selections(run)[0].ranking).collect()
    stays = ranking.filter(~pl.col("row_id").is_in(goes.implode()))
    joins = (
        result.stage == names[-1] and not run.select.needs_scores and not run.select.needs_tokens
    )
    if joins and result.back:
        ids = pl.concat([stays["row_id"], _back(result)])
        stays = _ranked_anew(run, ids.filter(~ids.is_in(goes.implode())))
    else:
        stays = stays.select(*RANKING_COLUMNS, unscored())
    chosen = choose(stays, run.select, plan_context(run, run.select))
    return Alternative(chosen, {"stages": stages}, 0 if joins else result.back)


def _back(result: RethresholdResult) -> pl.Series:
    before = result.before.filter(keep=False)
    return result.evidence.filter(keep=True).join(before, on="row_id", how="semi")["row_id"]


def _ranked_anew(run: RunFolder, row_ids: pl.Series) -> pl.DataFrame:
    """Return the ranking of rows that need no scores."""
    pool = run.rows("pool")
    assert pool is not None, "verdicts were made anew from these rows"
    kept = pool.select("row_id").filter(pl.col("row_id").is_in(row_ids.implode())).collect()
    nothing = {"score": pl.lit(None, pl.Float64), "nearest_id": pl.lit(None, pl.String)}
    tokens = run.table("evidence/tokens").collect()
    return rank_rows(kept.with_columns(**nothing), tokens, run.select, run.config.seed)


def save_selection(run: RunFolder, name: str, alternative: Alternative) -> Path:
    """Write a selection beside the run's own; return its folder.

    Raises:
        UserError: the name is none, or taken.
    """
    folder = run.path / FOLDER / _checked(name)
    if folder.exists():
        raise UserError(f"{folder} is there already; give another name, or remove it")
    recipe = alternative.recipe(run, name).model_dump(mode="json")
    rows = alternative.rows(run)
    folder.parent.mkdir(exist_ok=True)
    with scratch_folder(temporary_name(folder)) as staging:
        staging.mkdir()
        rows.write_parquet(staging / SELECTED)
        text = yaml.safe_dump(recipe, sort_keys=False, allow_unicode=True)
        (staging / RECIPE).write_text(text, encoding="utf-8")
        staging.rename(folder)
    return folder


def _checked(name: str) -> str:
    try:
        return check_name(name)
    except ValueError as error:
        raise UserError(f"--as {name}: {error}") from error
