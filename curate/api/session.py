"""A run of a recipe as far as a function of the public face needs it."""

from pathlib import Path
from typing import Any

from curate.api.progress import showing_in_notebook
from curate.config.loading import recipe_of_settings
from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.core.params import Params
from curate.pipeline.curation import read_inputs, run_stages
from curate.pipeline.engine import executing, inline
from curate.pipeline.run import Run

STORE = ".curate/store"


def recipe_of(store: str | Path, **settings: Any) -> Config:
    """Return a recipe with some settings, written as in a recipe's file or read already.

    Raises:
        UserError: a setting is at fault, in a sentence each.
    """
    return recipe_of_settings({"name": "python", "store": str(store), **settings})


def changed_recipe(recipe: Config, **settings: Any) -> Config:
    """Return a recipe with other settings in place of some of its own."""
    own = {name: getattr(recipe, name) for name in recipe.model_fields_set}
    return recipe_of(**{**own, **settings})


def written_settings(params: Params) -> dict[str, Any]:
    """Return what a recipe says of a part, without defaults."""
    return params.model_dump(exclude_unset=True)


def started_run(recipe: Config) -> Run:
    """Return a run of a recipe that has read its inputs and let its stages judge them."""
    store = open_store(recipe.store)
    run = Run(recipe, store, executing(inline(store)))
    with showing_in_notebook():
        read_inputs(run)
        run_stages(run)
    return run
