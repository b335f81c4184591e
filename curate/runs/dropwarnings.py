"""Stages that dropped so much that a person had better look, with the commands to do so."""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass

from curate.config.names import stage_names
from curate.core.errors import UserError
from curate.core.numerals import percent
from curate.runs.folder import RunFolder
from curate.runs.funnel import Funnel

# Of the rows that reach a stage.
MUCH = 1 / 3


@dataclass(frozen=True)
class DropWarning:
    """What is worth a look: a sentence, and commands that show more."""

    sentence: str
    commands: tuple[str, ...] = ()


def drop_warnings(run: RunFolder, funnel: Funnel, path: str | None = None) -> Iterator[DropWarning]:
    """Yield the stages that dropped more than a third, then those that drop what is near the target.

    path: of the run in the commands, RUN where the text goes to others.
    """
    path = path or shlex.quote(str(run.path))
    for before, step in zip(funnel.steps, funnel.steps[1:-1], strict=False):
        if step.removed > before.remaining * MUCH:
            share = percent(step.removed / before.remaining)
            yield DropWarning(
                f"{step.stage} dropped {step.removed:,} of {before.remaining:,} rows ({share})",
                tuple(_commands(run, step.stage, path)),
            )
    yield from map(DropWarning, run.manifest.get("warnings", []))


def _commands(run: RunFolder, stage: str, path: str) -> Iterator[str]:
    """Yield how to see the rows that a stage dropped, and what another threshold of it would drop."""
    yield f"curate rows {path} --where \"stage = '{stage}'\" --text"
    try:
        stages = dict(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    except UserError:  # of a plugin that is not loaded
        return
    if stage in stages and stages[stage].rethresholdable:
        yield f"curate rethreshold {path} {stage}"
