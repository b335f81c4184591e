"""The engine that a recipe names, and a run on it without Prefect."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from curate.config.recipe import Config
from curate.config.running import INLINE, RunSettings
from curate.core.bucket import open_store
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pipeline.engine import Submit, SubmitOnce, inline
from curate.pipeline.run import RunResult
from curate.terminal import run_with_progress

# The module of each engine, and the package that it needs.
MODULES = {
    "threads": ("curate.orchestration.threads", "threading"),
    "ray": ("curate.orchestration.raycluster", "ray"),
    "dask": ("curate.orchestration.daskcluster", "distributed"),
}
# Nobody is told of its use, and standard output is not given its lines on workers that died.
RAY_SILENCE = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS_SKIP_REGEX": "."}
# A cluster of this machine listens to it alone, and to who knows a word.
RAY_VARIABLES = {
    **RAY_SILENCE, "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"
}  # fmt: skip


@contextmanager
def open_engine(settings: RunSettings, store: Store) -> Iterator[Submit]:
    """Yield the engine that a recipe names.

    Raises:
        UserError: what it needs is not installed, or its cluster cannot be started or reached.
    """
    if settings.on == INLINE:
        yield inline(store)
        return
    with engine_module(settings).open_engine(settings, store) as submit:
        yield SubmitOnce(submit)


def engine_module(settings: RunSettings) -> Any:
    """Return the module of an engine, imported.

    Raises:
        UserError: the package that it needs is not installed.
    """
    name, package = MODULES[settings.on]
    if find_spec(package) is None:
        raise UserError(
            f"run.on: {settings.on} needs a package that is not installed: "
            f"pip install 'curate-data[{settings.on}]'"
        )
    # Ray reads these when it is imported.
    for variable, value in (RAY_VARIABLES if settings.address is None else RAY_SILENCE).items():
        os.environ.setdefault(variable, value)
    return import_module(name)


def run_on_engine(
    config: Config, out: Path | None, *, overwrite: bool = False, command: str | None = None
) -> RunResult:
    """Run a recipe to the end on its engine; see pipeline.curation.run_curation."""
    with open_engine(config.run, open_store(config.store)) as submit:
        return run_with_progress(config, out, submit, overwrite=overwrite, command=command)
