"""Marks by hand: rows that a person has marked to keep, to drop, or to correct.

stages:
  - {method: manual, marks: runs/mine/marks/marks.jsonl}      # as the viewer saves them
  - {method: rules}

A mark belongs to a text (`content_hash`, see curate.judge.marks), so it holds where files move; that of
a preference pair, which has `rejected` as well, to the pairs with both of its answers.

- drop: every row of the text goes.
- correct: every row of the text goes, and a new one with the corrected response enters, whose parent it
  is; it meets the later stages. Where the corrected text is marked itself, that mark counts.
- keep: no later stage drops the row (curate.core.pins), whatever its score; its evidence says which
  would have. Of several rows of one text it is the one that was marked, or else the first. Stages that
  keep out what no training may read (`leaks`, `pii`) drop it all the same, and so does the base
  model's chat template.

So the stage stands first: behind others it can bring back nothing that these dropped. Rows that stages
make are not there yet; a second `manual` behind them reads their marks.

Cost: none. Pitfalls: a response that is corrected loses its reasoning, which led to the old one. A
pair keeps its rejected answer, unless the correction says just that. Rows that end with a call of a
tool cannot be corrected by a text. Marks by hand are choices that a selection is proved with: who
marks rows by looking at the eval set makes its proof worthless.
"""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import polars as pl
from pydantic import Field

from curate.core.calls import Table, cached_files
from curate.core.derived_rows import derive_rows, derived_id
from curate.core.errors import UserError
from curate.core.keyed import KeyedFile
from curate.core.localfiles import digest_bytes
from curate.core.methods import method
from curate.core.numerals import counted
from curate.core.pins import PINNED
from curate.core.preferences import rejected_hash, without_equal_answers
from curate.core.reasons import Reason
from curate.core.rows import Message, content_hash
from curate.core.run import StepRun
from curate.core.runrecord import StageRecord
from curate.core.section import Section
from curate.core.stage import APPENDED, Stage, StageData, StageResult
from curate.core.stageinputs import StageInputs
from curate.core.store import Artifact, Counts
from curate.core.turntext import plain_messages
from curate.judge.manual_section import manual_section
from curate.judge.marks import (
    Mark,
    MarkFile,
    MarkKey,
    mark_of,
    marks_of_rows,
    read_bytes,
    read_marks,
)

LOG = logging.getLogger("curate")
# The marks of rows that are there, and all that the file holds.
MARKS, LINES = "marks", "lines"
SCHEMA = {
    "row_id": pl.String,
    "mark": pl.String,
    "reason": pl.String,
    "made_id": pl.String,
    "pinned": pl.Boolean,
    "note": pl.String,
    "at": pl.String,
}
FILE_SCHEMA = dict.fromkeys(("content_hash", "rejected", "mark", "response"), pl.String)


@method
class ManualStage(Stage):
    """Keep, drop and correct the rows that a person has marked."""

    title: ClassVar[str] = "Marks by hand"
    reads_rejected: ClassVar[bool] = True
    does: ClassVar[str] = "keeps, drops and corrects rows that are marked by hand"
    pins: ClassVar[bool] = True

    method: Literal["manual"] = "manual"
    marks: str = Field(
        description="JSON Lines, as the viewer saves them: row_id, content_hash, rejected (of a "
        "pair), mark (keep, drop, correct or none), response, note",
        examples=["runs/mine/marks/marks.jsonl"],
    )

    def check(self) -> None:
        """Fail if the file of marks cannot be read.

        Raises:
            UserError: it is not there, or a line is no mark.
        """
        read_marks(Path(self.marks))

    def prepare(self, run: StepRun, data: StageInputs) -> Mapping[str, Table]:
        """Return the marks of the rows that are there, and the corrected rows."""
        path = Path(self.marks)
        marked = run(write_marked, data, KeyedFile(digest_bytes(read_bytes(path)), path))
        for sentence in mark_warnings(self.marks, marked):
            LOG.warning("%s", sentence)
        tables = {name: Table(marked, name) for name in (MARKS, LINES)}
        if marked.counts["corrected"]:
            tables[APPENDED] = Table(marked, APPENDED)
        return tables

    def decide(self, data: StageData) -> StageResult:
        """Drop what is marked so or corrected; pin what is marked to keep."""
        marks = data.prepared[MARKS].scan()
        evidence = (
            data.rows.select("row_id")
            .join(
                marks.select("row_id", "reason", "mark", PINNED, duplicate_of="made_id"),
                on="row_id", how="left", maintain_order="left",
            )
            .with_columns(
                keep=pl.col("reason").is_null(),
                score=pl.lit(None, dtype=pl.Float64),
                threshold=pl.lit(None, dtype=pl.Float64),
                pinned=pl.col(PINNED).fill_null(value=False),
            )
        )  # fmt: skip
        details = marks.select("row_id", detail="note").filter(pl.col("detail").is_not_null())
        return StageResult(evidence, {"details": details})

    def section(self, record: StageRecord) -> Section | None:
        """Return how many rows are kept, dropped and corrected, the notes, and the corrections."""
        return manual_section(record)


def mark_warnings(path: str, marked: Artifact) -> list[str]:
    """Return what is to be said of marks that do nothing."""
    counts, sentences = marked.counts, []
    if torn := counts["torn"]:
        sentences.append(
            f"{path}:{torn}: the last line breaks off and is no mark; mark its row anew"
        )
    if counts["unmatched"]:
        sentences.append(
            f"{path}: {_marks(counts['unmatched'])} of {counts['rows_in']:,} match no row that the "
            "stage `manual` reads: its text has changed or is not in the pool, or a later stage makes "
            "it (a second `manual` behind that stage reads its mark)"
        )
    if counts["late"]:
        sentences.append(
            f"{path}: {_marks(counts['late'])} of {counts['rows_in']:,} come too late: earlier stages, "
            "or the chat template of the base model, dropped the row; let `manual` stand first"
        )
    return sentences


def _marks(count: int) -> str:
    return counted(count, "mark")


@dataclass(frozen=True)
class MarkedRow:
    """A row and its mark; of a corrected one the turns of the new row, and the mark of these if any."""

    row_id: str
    mark: Mark
    messages: Sequence[Message] | None = None

    @property
    def line(self) -> dict[str, Any]:
        """Return its line of the table of marks (SCHEMA)."""
        new = self.messages is not None
        dropped = Reason.MARKED_BY_HAND if self.mark.kind == "drop" else None
        return {
            "row_id": self.row_id,
            "mark": "correct" if new else self.mark.kind,
            "reason": Reason.CORRECTED_BY_HAND if new else dropped,
            "made_id": derived_id(self.row_id, "manual") if new else None,
            "pinned": self.mark.kind == "keep",
            "note": self.mark.note,
            "at": self.mark.at,
        }


@cached_files(version=4, name="manual-marks", title="Match marks with rows")
def write_marked(out: Path, data: StageInputs, marks: KeyedFile) -> Counts:
    """Write marks.parquet, the marks of a stage's rows, made.parquet, the corrected rows, lines.parquet.

    Raises:
        UserError: the file of marks is at fault, or corrects a row that ends with a call of a tool.
    """
    file = read_marks(marks.path, marks.identity)
    marks_by_row = marks_of_rows(data.rows.scan(), file.marks)
    ids = pl.Series(list(marks_by_row), dtype=pl.String).implode()
    rows = data.without_dropped(data.rows.scan().filter(pl.col("row_id").is_in(ids))).collect()
    used: set[MarkKey] = set()
    marked = [*_match(rows, marks_by_row, file, used)]
    lines = pl.DataFrame([row.line for row in marked], schema=SCHEMA)
    lines.write_parquet(out / f"{MARKS}.parquet")
    every = [(*key, mark.kind, mark.response) for key, mark in file.marks.items()]
    pl.DataFrame(every, schema=FILE_SCHEMA, orient="row").write_parquet(out / f"{LINES}.parquet")
    new = {row.row_id: row.messages for row in marked if row.messages is not None}
    parents = rows.filter(pl.col("row_id").is_in(list(new)))
    messages = [new[row_id] for row_id in parents["row_id"]]
    corrected = without_equal_answers(derive_rows(parents, messages, "manual"))
    corrected.write_parquet(out / f"{APPENDED}.parquet")
    there = {mark.key for mark in marks_by_row.values()}
    return {
        "rows_in": len(file.marks),
        "rows_out": lines.height,
        "corrected": len(new),
        "unmatched": len(file.marks.keys() - used - there),
        "late": len(there - used),
        "torn": file.torn or 0,
    }


def _match(
    rows: pl.DataFrame, marks_by_row: Mapping[str, Mark], file: MarkFile, used: set[MarkKey]
) -> Iterator[MarkedRow]:
    """Yield the marked rows in pool order; `used` gets the keys of the marks that apply."""
    columns = rows.select("row_id", "messages", "tools", "rejected")
    kept = _kept_copies(rows["row_id"], marks_by_row)
    for row_id, turns, tools, rejected in columns.iter_rows():
        mark = marks_by_row[row_id]
        used.add(mark.key)
        if mark.kind == "correct":
            row = MarkedRow(row_id, mark, plain_messages(turns))
            yield _correct(row, tools, rejected_hash(rejected), file, used)
        elif mark.kind == "drop" or kept[mark.key] == row_id:
            yield MarkedRow(row_id, mark)


def _kept_copies(row_ids: Iterable[str], marks_by_row: Mapping[str, Mark]) -> dict[MarkKey, str]:
    """Return which row each mark to keep is about: the one that was marked, or the first."""
    copies: dict[MarkKey, str] = {}
    for row_id in row_ids:
        mark = marks_by_row[row_id]
        if mark.key not in copies or mark.row_id == row_id:
            copies[mark.key] = row_id
    return copies


def _correct(
    row: MarkedRow, tools: str | None, rejected: str | None, file: MarkFile, used: set[MarkKey]
) -> MarkedRow:
    """Return a row with its corrected turns; where their text is marked as well, by that mark.

    Raises:
        UserError: its last turn calls a tool.
    """
    mark, turns, passed = row.mark, row.messages or (), set[str]()
    while mark.kind == "correct":
        place = f"{file.path}:{mark.line}: {row.row_id}"
        turns = corrected_turns(turns, mark.response or "", place)
        text = content_hash(turns, tools)
        following = mark_of(file.marks, text, rejected)
        if following is None or text in passed:
            break
        passed.add(text)
        used.add(following.key)
        mark = following
    return MarkedRow(row.row_id, mark, None if mark.kind == "drop" else turns)


def corrected_turns(turns: Sequence[Message], response: str, place: str) -> list[Message]:
    """Return a conversation whose last turn says something else, without the reasoning before it.

    Raises:
        UserError: the last turn calls a tool, of which a text cannot take the place.
    """
    last = turns[-1]
    if last.get("tool_calls"):
        raise UserError(
            f"{place} ends with a call of a tool, which a corrected text cannot take the place of; "
            "mark it drop, or change it in its file"
        )
    new = {**last, "content": response}
    new.pop("reasoning", None)
    return [*turns[:-1], cast(Message, new)]
