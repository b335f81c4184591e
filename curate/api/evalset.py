"""An eval set from a held-out part of a recipe's corpus, from Python as `curate evalset` writes it."""

from pathlib import Path
from typing import Any

from curate.api.progress import showing_in_notebook
from curate.api.recipes import config_of
from curate.config.recipe import Config
from curate.core.bucket import open_store
from curate.pipeline.engine import executing, inline
from curate.pipeline.evalset import ENOUGH, WrittenEvalSet, write_eval_set


def evalset(recipe: str | Path | dict[str, Any] | Config, out: str | Path) -> WrittenEvalSet:
    """Write questions and answers from the documents that a recipe's generators hold out.

    Args:
        recipe: path of a YAML file, its content as a dictionary, or a Config.
        out: the file, JSON Lines.

    Raises:
        UserError: no generator of the recipe holds documents out, or an input is at fault.
    """
    config = config_of(recipe)
    with showing_in_notebook():
        return write_eval_set(config, Path(out), executing(inline(open_store(config.store))))


def advice(written: WrittenEvalSet) -> list[str]:
    """Return what the command line says of an eval set: its size, and how a recipe uses it."""
    lines = [
        f"{written.path}: {written.rows:,} examples from {written.documents:,} held-out documents",
        f"Read some of them, then give `target: {{path: ..., eval: {written.path}}}` and the stage "
        "`leaks`. A verdict by them says that they are synthetic.",
    ]
    if written.rows < ENOUGH:
        few = f"A proof wants some {ENOUGH} examples: raise `rounds` or `documents` of the method."
        lines.insert(1, few)
    return lines
