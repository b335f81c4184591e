"""Training files of a recipe's or a finished run's selection, with their card."""

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from curate.config.recipe import Config
from curate.pool.export import CardParams, earlier_export, write_all
from curate.runs.folder import RunFolder


def card_params(config: Config) -> CardParams:
    """Return what the card tells of the recipe."""
    params = {
        "name": config.name,
        "select": config.select.model_dump(mode="json"),
        "seed": config.seed,
        "stages": [s.model_dump(mode="json") for s in config.stages],
        "base": config.models.base,
    }
    return cast(CardParams, params)


def export_run(run: RunFolder, formats: Sequence[str], out: Path) -> list[Path]:
    """Write a finished run's selection as training files with their card; return the files.

    Args:
        run: the run.
        formats: names of exporters.
        out: a new or empty folder, or one that holds nothing but an earlier export, which goes.

    Raises:
        UserError: the folder holds anything else, or is none.
    """
    rows = run.table("selected").collect()
    earlier = earlier_export(out)
    for path in earlier:
        path.unlink()
    return write_all(rows, formats, card_params(run.config), out)
