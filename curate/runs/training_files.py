"""Training files of a recipe's or a finished run's selection, with their card."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from curate.config.recipe import Config
from curate.core.store import Artifact, Step
from curate.pool.export import VERSION, earlier_export, write_all, write_export
from curate.runs.folder import RunFolder


def export_step(selection: Artifact, config: Config) -> Step:
    """Return the step that writes the training files and their card."""
    params = {"formats": config.export.formats, **card_params(config)}
    return Step("export", VERSION, write_export, {"selection": selection}, params)


def card_params(config: Config) -> dict[str, Any]:
    """Return what the card tells of the recipe."""
    return {
        "name": config.name,
        "select": config.select.model_dump(mode="json"),
        "seed": config.seed,
        "stages": [s.model_dump(mode="json") for s in config.stages],
        "base": config.models.base,
    }


def export_run(run: RunFolder, formats: Sequence[str], out: Path) -> list[Path]:
    """Write a finished run's selection as training files with their card; return the files.

    Args:
        run: the run.
        formats: names of FORMATS.
        out: a new or empty folder, or one that holds nothing but an earlier export, which goes.

    Raises:
        UserError: the folder holds anything else, or is none.
    """
    rows = run.table("selected").collect()
    earlier = earlier_export(out)
    for path in earlier:
        path.unlink()
    return write_all(rows, formats, card_params(run.config), out)
