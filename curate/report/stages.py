"""The stages of a finished run, each with its tables and the method that says what to show of them."""

from collections.abc import Iterator

import polars as pl
from pydantic import ValidationError

from curate.core.errors import UserError
from curate.core.methods import read_method
from curate.core.runrecord import StageRecord
from curate.core.scored_section import scored_section
from curate.core.section import Section
from curate.core.stage import Stage, with_method
from curate.report.wording import stage_label
from curate.runs.folder import RunFolder
from curate.runs.rethreshold import find_rethresholdable, stage_data, sweep
from curate.selectors.compared import numbered


def stage_sections(run: RunFolder) -> tuple[Section, ...]:
    """Return what the run's stages say of themselves, in their order."""
    sections = (
        scored_section(record) if stage is None else stage.section(record)
        for record, stage in stages_of(run)
    )
    return tuple(section for section in sections if section)


def stages_of(run: RunFolder) -> Iterator[tuple[StageRecord, Stage | None]]:
    """Yield the run's stages whose verdicts are there.

    The stage itself is None where its method is no longer here, or takes other parameters by now: a run
    is no reason to import a plugin.
    """
    config = run.manifest["config"]
    stages = [with_method(params) for params in config.get("stages", [])]
    for name, params in zip(numbered([s["method"] for s in stages]), stages, strict=True):
        if run.has(f"evidence/{name}"):
            yield _record(run, name), read_method(Stage, params)


def _record(run: RunFolder, name: str) -> StageRecord:
    def dropped_by_threshold(points: int) -> pl.DataFrame | None:
        try:
            return sweep(stage_data(run, name), find_rethresholdable(run, name), points)
        except (UserError, ValidationError):
            return None

    models = run.manifest["config"].get("models", {})
    return StageRecord(
        run, name, stage_label(name), models.get("embedder", ""), dropped_by_threshold
    )
