"""Blocks of a stage's section, taken from a finished run for looking at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar

from curate.core.runrecord import StageRecord
from curate.core.section import Cell, DataTable, Item, Section
from curate.report.stages import stage_sections, stages_of
from curate.runs.folder import RunFolder, open_run

B = TypeVar("B")


def section_of(run: Path, stage: str) -> Section:
    """Return the section of a stage, by its name in the run."""
    return next(s for s in stage_sections(open_run(run)) if s.anchor == f"stage-{stage}")


def blocks_of(part: Any, kind: type[B]) -> list[B]:
    """Return the blocks of a kind in a section or block, wherever they stand, in their order."""
    return list(_walk(part, kind))


def _walk(part: Any, kind: type[B]) -> Iterator[B]:
    if isinstance(part, kind):
        yield part
    elif isinstance(part, tuple):
        for one in part:
            yield from _walk(one, kind)
    elif is_dataclass(part) and not isinstance(part, type):
        for field in fields(part):
            yield from _walk(getattr(part, field.name), kind)


def words_of_block(part: Any) -> str:
    """Return every word of our own and of others in a section or block, in one line."""
    return " ".join(" ".join(blocks_of(part, str)).split())


def line_of(table: DataTable, head: Cell) -> tuple[Any, ...]:
    """Return the cells after the head of the line that is called so."""
    return next(line[1:] for line in table.lines if line[0] == head)


def shown_ids(part: Any) -> list[str]:
    """Return the rows of the items of a section, each item's first."""
    return [getattr(item.parts[0], "row_id", "") or "" for item in blocks_of(part, Item)]


def record_of(run: RunFolder, stage: str) -> StageRecord:
    """Return a stage of a run as its section reads it."""
    return next(record for record, _ in stages_of(run) if record.name == stage)
