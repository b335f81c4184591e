"""What methods of a recipe need beside its rows: rubrics, labels, folders of prompts, saved selections.

All is looked for before anything is run, so that a name that is misspelt costs no hour of a stage.
"""

from pathlib import Path

from curate.config.recipe import Config
from curate.core.errors import UserError
from curate.core.methods import Method
from curate.generate.settings import GenerationSettings
from curate.generate.step import find_sources
from curate.llm.prompts import MethodPrompts


def check_methods(config: Config) -> None:
    """Fail where a stage or selection names what is not there or not installed.

    Raises:
        UserError: says what it is.
    """
    members = [one for _, params in config.choices for one, _ in params.members()]
    for params in (*config.stages, *members):
        params.check()
        _check_prompts(params, getattr(params, "prompts", None))


def _check_prompts(params: Method, folder: str | None) -> None:
    if folder is not None:
        MethodPrompts(params.method, Path(folder))


def check_generators(generate: GenerationSettings) -> None:
    """Fail where a generator names a file that is not there or cannot be used.

    In a run such a method ends alone.

    Raises:
        UserError: says which one.
    """
    for method in generate.methods:
        try:
            _check_prompts(method, generate.prompts)
            method.check()
            find_sources(method.model_dump(mode="json"))
        except UserError as error:
            raise UserError(f"generate: {method.method}: {error}") from error
