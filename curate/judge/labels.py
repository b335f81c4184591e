"""Labels: which rows of a pool somebody has checked, and found right or wrong.

{"row_id": "web/a.jsonl:7", "correct": false}
{"source": "web", "position": 7, "correct": true}       where the source has one file
{"row_id": "web/a.jsonl:9", "correct": true, "weight": 0.4}

A weight says that rows were not drawn alike: it is the inverse of the chance that the row had to be
labelled, up to a factor (curate.judge.labelling draws so). Without weights labels are taken for those of
rows drawn at random.
"""

from pathlib import Path
from typing import Any

import orjson
import polars as pl
from pydantic import Field

from curate.core.calls import Counted, Table, cached
from curate.core.errors import UserError
from curate.core.keyed import KeyedFile
from curate.core.localfiles import MIB, digest_bytes, read_small
from curate.core.params import Params
from curate.core.run import StepRun
from curate.core.stageinputs import StageInputs

VERSION = 1
# Of each kind: a fold in five then has two of them.
FEWEST = 10
MOST_WEIGHT = 1e9
FORM = '{"row_id": "web/a.jsonl:7", "correct": false}'
SCHEMA = {
    "line": pl.Int64,
    "row_id": pl.String,
    "source": pl.String,
    "file": pl.String,
    "position": pl.Int64,
    "correct": pl.Boolean,
    "weight": pl.Float64,
}
LABEL_SCHEMA = {"row_id": pl.String, "correct": pl.Boolean, "weight": pl.Float64}
ID = r"^([^/]+)/(.*):(\d+)$"


class Labels(Params):
    """Rows of the pool that somebody has checked."""

    path: str = Field(
        description="JSON Lines: row_id (or source and position, and file where a source has several) "
        "and correct, true or false",
        examples=["checked.jsonl"],
    )

    def check(self) -> None:
        """Fail if the file cannot be read.

        Raises:
            UserError: it is not there, or a line is no label.
        """
        read_labels(Path(self.path))


def label_survivors(run: StepRun, data: StageInputs, path: Path) -> Table:
    """Return which of a stage's rows are right, of those that a file labels.

    Raises:
        UserError: the file cannot be read or is at fault, or it labels too few rows of a kind.
    """
    return run(labels, data, KeyedFile(digest_bytes(_read_bytes(path)), path))


@cached(version=VERSION, name="labels", title="Read the labels")
def labels(data: StageInputs, labels: KeyedFile) -> Counted[pl.DataFrame]:
    """Return row_id and correct, in pool order, and `weight` where any label has one.

    Raises:
        UserError: the file is at fault, or too few rows of a kind are labelled.
    """
    path = labels.path
    label_lines = read_labels(path, labels.identity)
    ids = data.survivor_ids()
    named = name_labels(label_lines, ids["row_id"], path)
    table = ids.join(_once(named, path), on="row_id", how="inner", maintain_order="left")
    table = table.with_columns(pl.col("weight").fill_null(1.0)).select(
        "row_id", "correct", *(["weight"] if named["weight"].count() else [])
    )
    right = int(table["correct"].sum())
    wrong = table.height - right
    if min(right, wrong) < FEWEST:
        raise UserError(
            f"{path}: of the rows that reach this stage {right} are labelled right and {wrong} wrong; "
            f"at least {FEWEST} of each are needed. Label more rows, or leave `labels` out"
        )
    reached = named.filter(pl.col("row_id").is_in(ids["row_id"].implode())).height
    counts = {"rows_in": label_lines.height, "wrong": wrong}
    return Counted(table, {**counts, "unknown": label_lines.height - reached})


def _once(named: pl.DataFrame, path: Path) -> pl.DataFrame:
    """Return each row and its label once, with its weight: 1 where it has none.

    Raises:
        UserError: a row has two labels.
    """
    weight = pl.col("weight").max()
    distinct = named.group_by("row_id", "correct", maintain_order=True).agg(weight)
    twice = distinct.filter(pl.col("row_id").is_duplicated())["row_id"].sort()
    if len(twice):
        raise UserError(f"{path}: {twice[0]} is labelled both right and wrong")
    return distinct


def read_labels(path: Path, digest: str | None = None) -> pl.DataFrame:
    """Return the lines of a file of labels (SCHEMA).

    Raises:
        UserError: a line is none, or the file has another digest.
    """
    data = _read_bytes(path, digest)
    lines = []
    for number, text in enumerate(data.splitlines(), start=1):
        if text.strip() and (line := _read_line(f"{path}:{number}", text)):
            lines.append({"line": number, **line})
    return pl.DataFrame(lines, schema=SCHEMA)


def _read_bytes(path: Path, digest: str | None = None) -> bytes:
    return read_small(path, "the file of labels", most=1024 * MIB, digest=digest)


def _read_line(place: str, text: bytes) -> dict[str, Any] | None:
    """Return a label; None of a row that waits for one (`correct` is null)."""
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{place}: no JSON; a line of labels is {FORM}") from error
    if isinstance(value, dict) and value.get("correct", False) is None:
        return None
    if not isinstance(value, dict) or not isinstance(value.get("correct"), bool):
        raise UserError(f"{place}: `correct` must be true or false, as in {FORM}")
    read = {"correct": value["correct"], "weight": _read_weight(place, value.get("weight"))}
    if isinstance(value.get("row_id"), str):
        return {"row_id": value["row_id"], **read}
    source, position, file = (value.get(name) for name in ("source", "position", "file"))
    if (
        not isinstance(source, str)
        or not _is_position(position)
        or not isinstance(file, str | None)
    ):
        raise UserError(f"{place}: name the row by row_id, or by source and position: {FORM}")
    return {"source": source, "file": file, "position": position, **read}


def _read_weight(place: str, value: Any) -> float | None:
    if value is None:
        return None
    if type(value) not in (int, float) or not 0 < value < MOST_WEIGHT:
        raise UserError(f"{place}: `weight` must be a number above 0")
    return float(value)


def _is_position(value: Any) -> bool:
    return type(value) is int and 0 < value < 2**63


def name_labels(label_lines: pl.DataFrame, ids: pl.Series, path: Path) -> pl.DataFrame:
    """Return row_id, correct and weight, ids filled in where a row is named by its place."""
    named = label_lines.filter(pl.col("row_id").is_not_null()).select(list(LABEL_SCHEMA))
    placed = label_lines.filter(pl.col("row_id").is_null()).drop("row_id")
    if not placed.height:
        return named
    id_ = pl.col("row_id").str
    ids_by_place = ids.to_frame().select(
        "row_id",
        source=id_.extract(ID, 1),
        own=id_.extract(ID, 2),
        position=id_.extract(ID, 3).cast(pl.Int64),
    )
    matches = placed.join(ids_by_place, on=["source", "position"], how="inner").filter(
        pl.col("file").is_null() | (pl.col("file") == pl.col("own"))
    )
    unclear = matches.filter(pl.col("line").is_duplicated())["line"].sort()
    if len(unclear):
        raise UserError(
            f"{path}:{unclear[0]}: the source has several files with such a position; give `file` or "
            "row_id as well"
        )
    return pl.concat([named, matches.select(list(LABEL_SCHEMA))])
