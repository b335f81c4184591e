"""The models and input files of a step on the machine that computes it, which may be another one.

Models are looked up by their names, in this machine's folders, packages and cache of the hub, and their
files compared with the step's key.
"""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from curate.core.calls import CachedCall
from curate.core.errors import UserError
from curate.core.keyed import EmbedderSource, ModelSource
from curate.core.store import Computation
from curate.models.load import find_model, identify_embedder, prepare
from curate.models.modelsource import check_files

SAME_PATHS = (
    "workers read input files, and the store's folder, at the same paths as the process that starts "
    "the run"
)


def with_local_models(step: Computation) -> Computation:
    """Return a step whose models lie on this machine.

    Raises:
        UserError: one is not here, or has other files than the key says.
    """
    if not isinstance(step, CachedCall):
        return step
    try:
        arguments = {name: _with_local_model(value) for name, value in step.arguments.items()}
    except UserError as error:
        raise UserError(f"{_place(step)}: {error}") from error
    return replace(step, arguments=arguments)


def _with_local_model(value: Any) -> Any:
    if isinstance(value, ModelSource) and value.name:
        folder = prepare(find_model(value.name))
        check_files(value.name, folder, value.identity)
        return replace(value, folder=folder)
    if isinstance(value, EmbedderSource):
        here = identify_embedder(find_model(value.name))["embedder"]
        if here != value.identity.get("embedder", here):
            raise UserError(
                f"embedder {value.name!r} has other files than where the run was started; give both "
                "the same ones"
            )
    return value


@contextmanager
def naming_missing_files(step: Computation) -> Iterator[None]:
    """Tell which file a step lacks on this machine.

    Raises:
        UserError: there is none of its name.
    """
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{_place(step)}: there is no {error.filename}; {SAME_PATHS}") from error
    except UserError as error:
        # Input files are read by what tells of them by itself.
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        raise UserError(f"{_place(step)}: {error}; {SAME_PATHS}") from error


def _place(step: Computation) -> str:
    return f"{step.name}, on the worker {socket.gethostname()}"
