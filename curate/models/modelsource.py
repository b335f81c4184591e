"""Models as arguments of calls: what identifies them, and whether a machine has the same files."""

from collections.abc import Mapping
from pathlib import Path

from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.keyed import ModelSource
from curate.models.load import (
    TOKENIZER_FILES,
    WEIGHT_FILES,
    ModelLocation,
    digest_files,
    identify,
    prepare,
)


def model_source(
    location: ModelLocation, dtype: str, trust: bool = False, judges: bool = False
) -> ModelSource:
    """Return a model for the calls of a run, which a worker looks up by its name."""
    name = str(location.path) if location.origin == "folder" else location.name
    return ModelSource(identify(location, dtype), prepare(location), trust, judges, name)


def check_files(name: str, folder: Path, identity: Mapping[str, JSON]) -> None:
    """Make sure that the files of a model on this machine are those that a key names.

    Raises:
        UserError: they are others.
    """
    for part, patterns in (("weights", WEIGHT_FILES), ("tokenizer", TOKENIZER_FILES)):
        if identity.get(part, "") not in ("", digest_files(folder, patterns)):
            raise UserError(
                f"model {name!r}: {folder} has other files ({part}) than the process that started the "
                "run has; give both the same ones"
            )
