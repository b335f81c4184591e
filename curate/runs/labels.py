"""Labels of a finished run: which rows to look at, and what a person found, beside the run's own files.

    runs/quickstart/labels/queue.jsonl    rows to label, in order, each with the weight of its label
    runs/quickstart/labels/labels.jsonl   the labels, as `confidence: {labels: {path: ...}}` reads them

A later run into the folder leaves `labels` where it is. Labels that the run's own recipe has read come
first.
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson
import polars as pl

from curate.config.names import stage_names
from curate.core.errors import UserError
from curate.core.numerals import counted
from curate.core.runlock import locked
from curate.core.scored_stage import ScoredStage
from curate.core.stage import Stage
from curate.judge.clear import ClearStage
from curate.judge.confidence import ConfidenceStage
from curate.judge.labelling import MOST_CANDIDATES, Candidates, Vectors, draw_rows
from curate.judge.labels import LABEL_SCHEMA, name_labels, read_labels
from curate.judge.rubric import RubricStage
from curate.runs.folder import MANIFEST, RunFolder, inside
from curate.runs.publish import temporary_name
from curate.runs.vectors import find_vectors

FOLDER = "labels"
LABELS, QUEUE = "labels.jsonl", "queue.jsonl"
# Whose scores say which rows are likely right; the first of these that a run has.
SCORING: tuple[type[Stage], ...] = (ConfidenceStage, ClearStage, RubricStage, ScoredStage)


@dataclass(frozen=True)
class QueuedRow:
    """A row to label; skipped ones are not asked about again."""

    row_id: str
    weight: float
    skipped: bool = False


@dataclass(frozen=True)
class ScoredRows:
    """The rows that can be labelled.

    Attributes:
        stage: whose scores they are; None where no stage has any.
        table: row_id, score.
        threshold: of the scores; None where nothing is cut.
    """

    stage: str | None
    table: pl.DataFrame
    threshold: float | None

    @property
    def sentence(self) -> str:
        """Return how rows are drawn."""
        if self.stage is None:
            return (
                "no stage of this run scores how likely responses are right, so rows are drawn at "
                "random; with a stage `confidence` in the recipe doubtful rows come more often"
            )
        near = "near the threshold" if self.threshold is not None else "of low scores"
        return (
            f"rows {near} of the stage {self.stage} come more often, and those that many rows are "
            "like; each label's weight says how much more often"
        )


def labels_path(run: RunFolder) -> Path:
    """Return the path of the labels saved beside a run, of which there need not be any.

    Raises:
        UserError: a link leads out of the run folder.
    """
    return inside(run.path, f"{FOLDER}/{LABELS}")


def _queue_path(run: RunFolder) -> Path:
    return inside(run.path, f"{FOLDER}/{QUEUE}")


def scored_rows(run: RunFolder) -> ScoredRows:
    """Return the rows that a judging stage of a run read, or all that were not dropped."""
    stages = list(zip(stage_names(run.config.stages), run.config.stages, strict=True))
    for kind in SCORING:
        for name, stage in stages:
            if isinstance(stage, kind) and run.has(f"evidence/{name}"):
                evidence = run.table(f"evidence/{name}").select("row_id", "score", "threshold")
                table = evidence.collect()
                if table["score"].count():
                    limits = table["threshold"].drop_nulls()
                    limit = float(limits[0]) if len(limits) else None
                    return ScoredRows(name, table.select("row_id", "score"), limit)
    kept = run.table("ledger").filter(pl.col("fate") != "dropped").select("row_id")
    return ScoredRows(None, kept.with_columns(score=pl.lit(None, pl.Float64)).collect(), None)


def draw(run: RunFolder, count: int) -> pl.DataFrame:
    """Return rows to label next (curate.judge.labelling.DRAWN); none that has a label or is queued.

    Raises:
        UserError: all rows have one.
    """
    rows, labelled = scored_rows(run), saved_labels(run)["row_id"]
    past = [*labelled, *(row.row_id for row in read_queue(run))]
    table = rows.table.filter(~pl.col("row_id").is_in(past))
    if not table.height:
        raise UserError(f"{run.path}: every row that can be labelled has a label or was skipped")
    seed = run.config.seed + len(past)
    if table.height > MOST_CANDIDATES:
        table = table.sample(MOST_CANDIDATES, seed=seed)
    vectors = None if rows.stage is None else stored_vectors(run, table["row_id"])
    scores = table["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    return draw_rows(Candidates(table["row_id"], scores, rows.threshold, vectors), count, seed)


def stored_vectors(run: RunFolder, ids: pl.Series) -> Vectors | None:
    """Return the stored vectors of rows, zeros where there is none; None where the run has none."""
    try:
        stored = find_vectors(run)
    except UserError:
        return None
    if not stored.spaces:
        return None
    space = stored.spaces[0].pool
    places = pl.DataFrame({"row_id": stored.pool}).with_row_index("position")
    table = pl.DataFrame({"row_id": ids}).join(
        places, on="row_id", how="left", maintain_order="left"
    )
    positions = table["position"].to_numpy().astype(np.int64)
    present = space.present[positions]
    own = space.read(positions[present])
    vectors = np.zeros((len(ids), own.shape[1]), dtype=np.float32)
    vectors[present] = own
    return vectors


# --- what is saved --------------------------------------------------------------------------------


def saved_labels(run: RunFolder) -> pl.DataFrame:
    """Return row_id, correct and weight of the labels beside a run, or of those its recipe reads.

    Raises:
        UserError: a line is no label.
    """
    path = labels_path(run)
    if path.is_file():
        return read_labels(path).select(*LABEL_SCHEMA)
    earlier = _recipe_file(run)
    if earlier is None or not earlier.is_file():
        return pl.DataFrame(schema=LABEL_SCHEMA)
    return name_labels(read_labels(earlier), run.table("ledger").collect()["row_id"], earlier)


def _recipe_file(run: RunFolder) -> Path | None:
    """Return the file of labels that a run's own recipe reads."""
    stages = (s for s in run.config.stages if isinstance(s, ConfidenceStage))
    return next((Path(s.labels.path) for s in stages if s.labels is not None), None)


def save_label(run: RunFolder, row_id: str, *, correct: bool | None) -> None:
    """Write the label of a row of the queue; None takes it back.

    Raises:
        UserError: the row is not in the queue, or the file cannot be written.
    """
    weights = {row.row_id: row.weight for row in read_queue(run)}
    if row_id not in weights:
        raise UserError(f"{run.path}: {row_id!r} is no row that is to be labelled")
    with _changing(run):
        labels = saved_labels(run).filter(pl.col("row_id") != row_id)
        if correct is not None:
            line = {"row_id": row_id, "correct": correct, "weight": weights[row_id]}
            labels = pl.concat([labels, pl.DataFrame([line], schema=LABEL_SCHEMA)])
        _write(labels_path(run), [_without_nulls(line) for line in labels.to_dicts()])


def read_queue(run: RunFolder) -> list[QueuedRow]:
    """Return the rows that were drawn for labels, in order.

    Raises:
        UserError: the file is damaged.
    """
    path = _queue_path(run)
    try:
        return [QueuedRow(**orjson.loads(line)) for line in path.read_bytes().splitlines()]
    except FileNotFoundError:
        return []
    except (OSError, TypeError, orjson.JSONDecodeError) as error:
        raise UserError(f"{path} cannot be read ({error}); remove it to draw rows anew") from error


def extend_queue(run: RunFolder, count: int) -> list[QueuedRow]:
    """Draw further rows behind those of the queue; return the queue.

    Raises:
        UserError: every row has a label, or the file cannot be written.
    """
    with _changing(run):
        drawn = draw(run, count)
        more = [QueuedRow(*line) for line in drawn.select("row_id", "weight").iter_rows()]
        return _write_queue(run, [*read_queue(run), *more])


def begin_labelling(run: RunFolder, count: int) -> str:
    """Draw rows where none waits for a label; return how many wait, and how they are drawn.

    Raises:
        UserError: every row has a label, or the file cannot be written.
    """
    labelled = set(saved_labels(run)["row_id"])
    queue = read_queue(run)
    if not [row for row in queue if row.row_id not in labelled and not row.skipped]:
        queue = extend_queue(run, count)
    waiting = [row for row in queue if row.row_id not in labelled and not row.skipped]
    return f"{counted(len(waiting), 'row')} to label; {scored_rows(run).sentence}"


def skip_rows(run: RunFolder, row_ids: Sequence[str], *, skipped: bool) -> None:
    """Ask no more about some rows of the queue, or again.

    Raises:
        UserError: one is not in the queue, or the file cannot be written.
    """
    with _changing(run):
        queue = {row.row_id: row for row in read_queue(run)}
        if strange := [row_id for row_id in row_ids if row_id not in queue]:
            raise UserError(f"{run.path}: {strange[0]!r} is no row that is to be labelled")
        queue |= {i: QueuedRow(i, queue[i].weight, skipped) for i in row_ids}
        _write_queue(run, list(queue.values()))


def _write_queue(run: RunFolder, queue: list[QueuedRow]) -> list[QueuedRow]:
    _write(_queue_path(run), [dict(vars(row)) for row in queue])
    return queue


def _without_nulls(line: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in line.items() if value is not None}


def _write(path: Path, lines: Sequence[dict[str, object]]) -> None:
    """Write lines to a file, whole or not at all."""
    staging = temporary_name(path)
    with staging.open("wb") as file:
        file.writelines(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE) for line in lines)
        file.flush()
        os.fsync(file.fileno())
    staging.replace(path)


@contextmanager
def _changing(run: RunFolder) -> Iterator[None]:
    """Hold the folder of labels for one writer at a time; begin it while no run takes its place.

    Raises:
        UserError: it cannot be written, or another run is being written into the run folder.
    """
    folder = inside(run.path, FOLDER)
    try:
        # One at a time, so that who holds the run folder is a run and no other label.
        descriptor = os.open(run.path / MANIFEST, os.O_RDONLY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if not folder.is_dir():
                with locked(run.path):
                    folder.mkdir(exist_ok=True)
            yield
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UserError(f"{folder}: labels cannot be saved ({error.strerror})") from error
