"""A whole recipe, run from Python as `curate run` does."""

from pathlib import Path
from typing import Any

from curate.api.finishedrun import FinishedRun
from curate.api.progress import showing_in_notebook
from curate.api.session import STORE, recipe_of
from curate.config.loading import load_config
from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.orchestration.engines import open_engine
from curate.pipeline.curation import run_curation
from curate.pipeline.engine import executing


def run(
    recipe: str | Path | dict[str, Any] | Config,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
) -> FinishedRun:
    """Run a recipe to the end and write its run folder.

    Args:
        recipe: path of a YAML file, its content as a dictionary, or a Config.
        out: the run folder; runs/NAME if not given.
        overwrite: whether the folder's run may be one of another recipe, which goes.

    Raises:
        UserError: an input, the recipe or the run folder is at fault.
    """
    config = config_of(recipe)
    folder = None if out is None else Path(out)
    with open_engine(config.run, open_store(config.store)) as submit, showing_in_notebook():
        result = run_curation(config, folder, executing(submit), overwrite=overwrite)
    return FinishedRun.of(result)


def config_of(recipe: str | Path | dict[str, Any] | Config) -> Config:
    """Return a recipe of a file, of its content, or read already."""
    if isinstance(recipe, dict):
        return recipe_of(**{"store": STORE, **recipe})
    return recipe if isinstance(recipe, Config) else load_config(Path(recipe))
