"""Marks of a finished run: what a person has decided of its rows, beside the run's own files.

    runs/quickstart/marks/marks.jsonl   a line for each mark, the last one of a row counts
    runs/quickstart/marks/recipe.yaml   the run's recipe with the stage `manual`, which reads them

A later run into the folder leaves `marks` where it is. The first mark is put behind those that the run's
own recipe has read.
"""

import errno
import fcntl
import logging
import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import polars as pl
import yaml

from curate.config.loading import recipe_of_settings
from curate.config.names import stage_names
from curate.config.recipe import Config, recipe_model
from curate.core.errors import UserError
from curate.core.jsontypes import JSON
from curate.core.numerals import counted
from curate.core.runlock import locked
from curate.judge.manual import LINES, ManualStage
from curate.judge.marks import NONE, Mark, MarkFile, MarkKey, marks_of_rows, read_marks
from curate.models.refusals import NAME as TEMPLATE
from curate.runs.folder import MANIFEST, RunFolder, inside
from curate.runs.publish import temporary_name

LOG = logging.getLogger("curate")
FOLDER = "marks"
MARKS, RECIPE = "marks.jsonl", "recipe.yaml"
LEFT_OUT = ("drop", "correct")


def marks_path(run: RunFolder) -> Path:
    """Return the path of the marks saved beside a run, of which there need not be any.

    Raises:
        UserError: a link leads out of the run folder.
    """
    return inside(run.path, f"{FOLDER}/{MARKS}")


def recipe_path(run: RunFolder) -> Path:
    """Return the path of the recipe that reads the marks saved beside a run.

    Raises:
        UserError: a link leads out of the run folder.
    """
    return inside(run.path, f"{FOLDER}/{RECIPE}")


def saved_marks(run: RunFolder) -> MarkFile:
    """Return the marks saved beside a run, or those that its recipe reads where there are none.

    Raises:
        UserError: a line is no mark.
    """
    path = marks_path(run)
    if path.is_file():
        return read_marks(path)
    earlier = _recipe_file(run)
    if earlier is None or not earlier.is_file():
        return MarkFile(path, ())
    return replace(read_marks(earlier), path=path)


def save_mark(run: RunFolder, mark: Mark) -> MarkFile:
    """Write a mark behind those of a run, and the recipe that reads them; return all marks.

    The line is on the disk when this returns; a line that a crash left half written goes.

    Raises:
        UserError: the file cannot be written, or another run is being written into the folder.
    """
    path = marks_path(run)
    try:
        if not path.is_file():
            _begin(run, path)
        with _opened(path) as descriptor:
            _append(descriptor, _mend(path, descriptor) + mark.to_line())
        write_recipe(run)
    except OSError as error:
        raise UserError(f"{path}: the mark cannot be saved ({error.strerror})") from error
    return read_marks(path)


def _append(descriptor: int, line: bytes) -> None:
    if os.write(descriptor, line) < len(line):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(descriptor)


def _begin(run: RunFolder, path: Path) -> None:
    """Make a file of marks that holds those of the run's recipe, as long as no run takes its place."""
    # One at a time, so that who holds the folder is a run and no other mark.
    with _opened(run.path / MANIFEST, os.O_RDONLY):
        if path.is_file():
            return
        lines = b"".join(mark.to_line() for mark in saved_marks(run).lines)
        with locked(run.path):
            path.parent.mkdir(exist_ok=True)
            staging = temporary_name(path)
            staging.write_bytes(lines)
            staging.replace(path)


@contextmanager
def _opened(path: Path, flags: int = os.O_RDWR | os.O_APPEND) -> Iterator[int]:
    """Hold a file open for one writer at a time."""
    descriptor = os.open(path, flags)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _mend(path: Path, descriptor: int) -> bytes:
    """Cut off a last line that breaks off; return the line end that a whole one lacks."""
    data = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    if not data or data.endswith(b"\n"):
        return b""
    if read_marks(path).torn is None:
        return b"\n"
    os.ftruncate(descriptor, data.rfind(b"\n") + 1)
    LOG.warning("%s: the last line broke off and was no mark; it is removed", path)
    return b""


def write_recipe(run: RunFolder) -> Path:
    """Write the recipe that reads a run's marks, unless it is there; return its path.

    Raises:
        UserError: it cannot be written.
    """
    path = recipe_path(run)
    settings = marked_recipe(run).model_dump(mode="json")
    text = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True).encode()
    try:
        if not path.is_file() or path.read_bytes() != text:
            staging = temporary_name(path)
            staging.write_bytes(text)
            staging.replace(path)
    except OSError as error:
        raise UserError(f"{path} cannot be written ({error.strerror})") from error
    return path


def marked_recipe(run: RunFolder) -> Config:
    """Return the recipe of a run with the stage `manual` first, reading the marks saved beside it.

    Where rows that a stage made are marked, it stands once more behind all stages.
    """
    stage: dict[str, JSON] = {"method": "manual", "marks": str(marks_path(run))}
    earlier = _recipe_file(run)
    own = run.config.stages
    stages = [
        stage if isinstance(one, ManualStage) and Path(one.marks) == earlier
        else one.model_dump(mode="json")
        for one in own
    ]  # fmt: skip
    if stage not in stages:
        stages.insert(0, stage)
    if stages[-1] != stage and _marks_made_rows(run):
        stages.append(stage)
    settings = run.config.model_dump(mode="json") | {"stages": stages}
    return recipe_of_settings({**settings, "store": run.manifest["store"]}, recipe_model())


def _recipe_file(run: RunFolder) -> Path | None:
    """Return the file of the first `manual` in a run's recipe."""
    return next((Path(s.marks) for s in run.config.stages if isinstance(s, ManualStage)), None)


def _marks_made_rows(run: RunFolder) -> bool:
    """Return whether a row is marked that a stage has made, other than by a correction by hand."""
    names, rows = stage_names(run.config.stages), run.rows("pool")
    ids = pl.Series([mark.row_id for mark in saved_marks(run).marks.values()], dtype=pl.String)
    if not names or not len(ids) or rows is None:
        return False
    before = [name for name in (TEMPLATE, names[0]) if run.has(f"evidence/{name}")]
    new_rows = rows.filter(
        pl.col("row_id").is_in(ids.implode()) & (pl.col("parents").list.len() > 0)
    )
    new_rows = new_rows.filter(pl.col("method") != "manual").select("row_id")
    for name in before:
        new_rows = new_rows.join(
            run.table(f"evidence/{name}").select("row_id"), on="row_id", how="anti"
        )
    return bool(new_rows.collect().height)


def pending_marks(run: RunFolder) -> dict[MarkKey, Mark]:
    """Return the marks beside a run that it has not read, by their keys; NONE for one taken back.

    Raises:
        UserError: a line is no mark.
    """
    if not marks_path(run).is_file():
        return {}
    current, applied = saved_marks(run).marks, _applied_marks(run)
    changed = {
        key: mark for key, mark in current.items() if applied.get(key) != (mark.kind, mark.response)
    }
    back = {key: _taken_back(*key) for key in applied if key not in current}
    return changed | back


def _taken_back(text: str, rejected: str | None) -> Mark:
    return Mark("", text, NONE, rejected=rejected)


def _applied_marks(run: RunFolder) -> dict[MarkKey, tuple[str, str | None]]:
    """Return the marks that the stages of a run have read: kind and response by their keys."""
    names = stage_names(run.config.stages)
    stages = zip(names, run.config.stages, strict=True)
    tables = [f"evidence/{n}-{LINES}" for n, stage in stages if isinstance(stage, ManualStage)]
    lines = [run.table(name).collect() for name in tables if run.has(name)]
    return {
        # Older runs read no marks of pairs.
        (line["content_hash"], line.get("rejected")): (line["mark"], line["response"])
        for table in lines
        for line in table.iter_rows(named=True)
    }


def left_out_rows(run: RunFolder) -> pl.Series:
    """Return the rows that are marked to drop or corrected since the run, which no plan takes."""
    marks = {key: mark for key, mark in pending_marks(run).items() if mark.kind in LEFT_OUT}
    rows = run.rows("pool") if marks else None
    if rows is None:
        ids = [mark.row_id for mark in marks.values()]
    else:
        marks_by_row = marks_of_rows(rows, saved_marks(run).marks)
        ids = [row_id for row_id, mark in marks_by_row.items() if mark.key in marks]
    return pl.Series("row_id", ids, dtype=pl.String)


def pending_line(run: RunFolder) -> str | None:
    """Return what is to be said of a run that has not read the marks beside it; None if it has.

    Raises:
        UserError: a line is no mark.
    """
    count = len(pending_marks(run))
    if not count:
        return None
    are = "is" if count == 1 else "are"
    return f"{counted(count, 'mark')} by hand {are} not in this run: {run_command(run)}"


def run_command(run: RunFolder) -> str:
    """Return the command that makes a run of the marks beside a run; the recipe is written for it."""
    return f"curate run {shlex.quote(str(write_recipe(run)))}"
