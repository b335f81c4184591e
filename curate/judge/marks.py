"""Marks: what a person has decided of single rows, one JSON object a line; a row's last line counts.

{"row_id": "web/a.jsonl:7", "content_hash": "9f...", "mark": "drop", "note": "off topic"}
{"row_id": "web/a.jsonl:9", "content_hash": "3c...", "mark": "correct", "response": "4"}
{"row_id": "web/a.jsonl:7", "content_hash": "9f...", "mark": "none"}          takes the first one back

A mark belongs to a text: it is matched by `content_hash`, so that a row keeps it where files move or
lines change their order. `row_id` says which of several rows of one text a person saw. The mark of a
preference pair has the content hash of its answer that was not chosen in `rejected`, and is that of the
pairs with both answers alone; pairs of one text without a mark of their own have that of the text.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import orjson
import polars as pl

from curate.core.errors import UserError
from curate.core.localfiles import MIB, read_small
from curate.core.preferences import rejected_hash

MarkKind = Literal["keep", "drop", "correct", "none"]
KINDS: tuple[MarkKind, ...] = get_args(MarkKind)
NONE: MarkKind = "none"
FORM = '{"row_id": "web/a.jsonl:7", "content_hash": "9f...", "mark": "drop"}'
TEXTS = ("rejected", "response", "note", "at")
# Content hash of a text, and of a rejected answer where a mark is that of a pair.
MarkKey = tuple[str, str | None]


@dataclass(frozen=True)
class Mark:
    """A person's decision on a row.

    Attributes:
        row_id: of the row, in the run in which it was marked.
        content_hash: of the row's text.
        kind: keep, drop, correct, or none for a mark that is taken back.
        response: the new response of a corrected row.
        note: why.
        at: when, in ISO 8601.
        rejected: content hash of the rejected answer of a pair; None for all rows of the text.
        line: of the file; 0 for one that is not written yet.
    """

    row_id: str
    content_hash: str
    kind: MarkKind
    response: str | None = None
    note: str | None = None
    at: str | None = None
    rejected: str | None = None
    line: int = 0

    @property
    def key(self) -> MarkKey:
        """Return what it is matched by."""
        return self.content_hash, self.rejected

    def to_line(self) -> bytes:
        """Return it as a line of a file of marks."""
        values = {
            "row_id": self.row_id,
            "content_hash": self.content_hash,
            "mark": self.kind,
            **{name: value for name in TEXTS if (value := getattr(self, name)) is not None},
        }
        return orjson.dumps(values, option=orjson.OPT_APPEND_NEWLINE)


@dataclass(frozen=True)
class MarkFile:
    """The lines of a file of marks.

    `torn` is the number of a last line that breaks off, as a crash may leave it; it is no mark.
    """

    path: Path
    lines: tuple[Mark, ...]
    torn: int | None = None

    @property
    def marks(self) -> dict[MarkKey, Mark]:
        """Return the marks that count, by their keys, in the order in which they were last set."""
        last: dict[MarkKey, Mark] = {}
        for mark in self.lines:
            last.pop(mark.key, None)
            last[mark.key] = mark
        return {key: mark for key, mark in last.items() if mark.kind != NONE}


def mark_of(marks: Mapping[MarkKey, Mark], text: str, rejected: str | None) -> Mark | None:
    """Return the mark of a row by its hashes: that of its pair, or else of its text."""
    return marks.get((text, rejected)) or marks.get((text, None))


def marks_of_rows(rows: pl.LazyFrame, marks: Mapping[MarkKey, Mark]) -> dict[str, Mark]:
    """Return the marks of rows by their ids, in the order of the rows; those without are left out."""
    texts = pl.Series(sorted({text for text, _ in marks}), dtype=pl.String).implode()
    # Rows of old runs have no place for a rejected answer.
    rejected = "rejected" if "rejected" in rows.collect_schema() else pl.lit(None)
    table = rows.filter(pl.col("content_hash").is_in(texts)).select(
        "row_id", "content_hash", rejected=rejected
    )
    return {
        row_id: mark
        for row_id, text, answer in table.collect().iter_rows()
        if (mark := mark_of(marks, text, rejected_hash(answer)))
    }


def read_marks(path: Path, digest: str | None = None) -> MarkFile:
    """Return the marks of a file.

    Raises:
        UserError: it cannot be read, a line is no mark, or the file has another digest.
    """
    data = read_bytes(path, digest)
    numbered = [(n, text) for n, text in enumerate(data.split(b"\n"), start=1) if text.strip()]
    torn = None
    if numbered and not data.endswith(b"\n") and not _is_json(numbered[-1][1]):
        torn = numbered.pop()[0]
    return MarkFile(path, tuple(_read_lines(path, numbered)), torn)


def read_bytes(path: Path, digest: str | None = None) -> bytes:
    """Return the bytes of a file of marks.

    Raises:
        UserError: it cannot be read, is too large, or has another digest.
    """
    return read_small(path, "the file of marks", most=1024 * MIB, digest=digest)


def _is_json(text: bytes) -> bool:
    try:
        orjson.loads(text)
    except orjson.JSONDecodeError:
        return False
    return True


def _read_lines(path: Path, numbered: list[tuple[int, bytes]]) -> Iterator[Mark]:
    for number, text in numbered:
        yield _read_line(f"{path}:{number}", text, number)


def _read_line(place: str, text: bytes, number: int) -> Mark:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise UserError(f"{place}: no JSON; a line of marks is {FORM}") from error
    if not isinstance(value, dict):
        raise UserError(f"{place}: no JSON object; a line of marks is {FORM}")
    names = ("row_id", "content_hash")
    if missing := [n for n in names if not isinstance(value.get(n), str) or not value[n]]:
        raise UserError(f"{place}: `{missing[0]}` must be a text, as in {FORM}")
    kind = value.get("mark")
    if kind not in KINDS:
        raise UserError(f"{place}: `mark` must be {', '.join(KINDS[:-1])} or {NONE}")
    if strange := [n for n in TEXTS if not isinstance(value.get(n), str | None)]:
        raise UserError(f"{place}: `{strange[0]}` must be a text")
    texts = {name: value.get(name) for name in TEXTS}
    if kind == "correct" and not (texts["response"] or "").strip():
        raise UserError(f"{place}: a corrected row needs its new `response`")
    return Mark(value["row_id"], value["content_hash"], kind, **texts, line=number)
