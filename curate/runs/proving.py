"""The recipe of a finished run with another proof."""

from collections.abc import Sequence
from typing import Any

from curate.config.loading import recipe_of_settings
from curate.config.recipe import Config, recipe_model
from curate.core.errors import UserError
from curate.pool.settings import RowFile
from curate.proof.settings import ProofSettings
from curate.runs.folder import RunFolder


def proof_recipe(
    run: RunFolder, prove: ProofSettings, eval: Sequence[RowFile] | None = None
) -> Config:
    """Return a run's recipe with a proof of these settings; all else is the run's, its store too.

    Args:
        run: the finished run.
        prove: as in a recipe.
        eval: files of the eval set, in place of the recipe's.

    Raises:
        UserError: the recipe has no target, or the settings do not fit it.
    """
    # Checks what a folder that may come from anyone says, and imports no plugin that it names.
    recipe = run.config.model_dump(mode="json")
    if recipe["target"] is None:
        raise UserError(
            f"{run.path}: a proof is of a skill, and the run's recipe has no target examples"
        )
    if eval is not None:
        recipe["target"]["eval"] = [_written(file) for file in eval]
    recipe |= {"prove": _written(prove), "store": run.manifest["store"]}
    return recipe_of_settings(recipe, recipe_model())


def _written(part: RowFile | ProofSettings) -> dict[str, Any]:
    return part.model_dump(mode="json", exclude_unset=True)
