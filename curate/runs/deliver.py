"""What another selection leads to: training files of its own, a place beside the run's selection."""

import shlex
from pathlib import Path

from curate.config.recipe import Config
from curate.runs.alternative import RECIPE, Alternative, save_selection
from curate.runs.folder import RunFolder
from curate.runs.training_files import export_alternative


def deliver(
    run: RunFolder, alternative: Alternative, out: Path | None, name: str | None
) -> list[str]:
    """Write a selection's training files, or save it, or both; return what the terminal shows.

    Args:
        run: whose evidence it was made from.
        alternative: the selection.
        out: a new or empty folder for training files, or one that holds nothing but an earlier export.
        name: under which it is saved in the run's folder.

    Raises:
        UserError: folder or name is taken, or the store has lost the rows.
    """
    lines = []
    if (out or name) and alternative.absent:
        lines.append(
            f"{alternative.absent:,} rows that come back are not in it: they have no scores or no "
            "verdicts of later stages, which a run of its recipe (--as) makes"
        )
    if out is not None:
        paths = export_alternative(run, alternative, out)
        lines.append(f"not proved; {len(paths)} training files are written to {out}")
    if name is not None:
        folder = save_selection(run, name, alternative)
        recipe = shlex.quote(str(folder / RECIPE))
        lines += [
            f"saved as {folder}",
            f"  curate run {recipe}      {_what_a_run_does(run.config)}, from stored scores",
            f"  prove.arms: {{name: {name}, path: {folder}}}      an arm of another recipe's proof",
            f"  compare: {{method: saved, path: {folder}}}      compared with other methods",
        ]
    return lines


def _what_a_run_does(recipe: Config) -> str:
    """Return what a run of a saved selection's recipe does, and what makes it prove the selection."""
    if recipe.prove:
        return "proves it"
    if recipe.target is None or not recipe.target.eval:
        return "makes a run of it (a proof needs a `target` with `eval`)"
    return "makes a run of it (with --set 'prove={}' it proves it)"
