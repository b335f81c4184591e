"""JSON documents: a record an element of a list of rows, or of several columns.

[{"instruction": "a", "output": "b"}, ...]
{"version": 1, "data": [{"instruction": "a", "output": "b"}, ...]}
{"train": [{"instruction": "a", "output": "b"}, ...], "test": [...]}      where a split is named
{"instruction": ["a", ...], "output": ["b", ...]}                         columns
{"instruction": "a", "instances": [{"input": "b", "output": "c"}, ...]}   one record that holds others
{"prompt": "a", "completion": "b"}                                        one record
"""

import io
import json
from collections.abc import Iterable, Iterator
from enum import Enum, auto
from typing import IO, Any

import orjson

from curate.core.errors import UserError
from curate.core.jsontext import JsonLimit
from curate.pool.containers.jsonvalue import is_whole, parse_record, repeated_key
from curate.pool.containers.record import BEGINNING, Record
from curate.pool.elements import LIST_KEYS, BrokenDocument, NoRows, cut_document, object_keys

# Keys of the form that pandas calls "split".
FRAME_KEYS = {"columns", "index", "data"}
# Lists within a record, and what its parts have in common: without that, the list is one of records.
PART_KEYS = ("instances", "Instances", "examples", "paragraphs", "qas")
COMMON_KEYS = ("instruction", "Definition", "definition", "context", "input", "prompt", "question")


class DocumentForm(Enum):
    """How a JSON text holds its records."""

    LINES = auto()
    ELEMENTS = auto()
    COLUMNS = auto()
    RECORD = auto()


def find_form(
    place: str, head: list[bytes], stream: IO[bytes], longest: int, split: str | None
) -> DocumentForm:
    """Return how a text holds its records; what was read to find out is added to the head.

    JSON Lines files, which may be huge, are told by a first or second line that is a whole object.

    Args:
        place: what the file is called in errors.
        head: its first lines, up to the second that is not blank.
        stream: what follows them.
        longest: bytes of a record.
        split: the split that is to be read.

    Raises:
        UserError: it is a document, but none that holds rows, or one of several splits.
    """
    lines = [piece.strip() for piece in head if piece.strip()]
    if not lines or not lines[0].startswith((b"[", b"{")):
        return DocumentForm.LINES
    if len(lines) > 1 and (
        isinstance(_parse_or_none(lines[1]), dict) or _parse_or_none(lines[0]) is not None
    ):
        return DocumentForm.LINES
    if lines[0].startswith(b"["):
        return DocumentForm.ELEMENTS
    head.append(stream.read(max(longest - sum(map(len, head)), 0)))
    return _object_form(place, b"".join(head), lines, longest, split)


def _object_form(
    place: str, start: bytes, lines: list[bytes], longest: int, split: str | None
) -> DocumentForm:
    """Return what the object is that a text starts with, of which so much has been read."""
    goes_on, alone = len(start) >= longest, len(lines) == 1
    rows = 0
    if not goes_on and not split and _is_record(start):
        return DocumentForm.RECORD
    try:
        for _ in cut_document(io.BytesIO(start), longest, split):
            rows += 1
    except NoRows as error:
        if not error.lists and not split and not goes_on:
            form = _form_without_list(start, alone=alone)
            if form is not None:
                return form
            _check_single(place, start)
        raise without_rows(place, error, split) from error
    except BrokenDocument as error:
        if goes_on:
            return DocumentForm.ELEMENTS if rows else DocumentForm.LINES
        if alone or lines[0] != b"{":
            return DocumentForm.LINES
        raise _broken(place, error.line, error.problem) from error
    return DocumentForm.ELEMENTS


def _form_without_list(document: bytes, *, alone: bool) -> DocumentForm | None:
    """Return what an object without a list of rows is, if anything; `alone`, it is in one line."""
    if read_columns(document) is not None:
        return DocumentForm.COLUMNS
    if alone:
        return DocumentForm.LINES
    return DocumentForm.RECORD if _is_alone(_parse_or_none(document)) else None


def _is_record(document: bytes) -> bool:
    """Return whether an object is one record that holds others, with what they have in common."""
    try:
        keys = object_keys(io.BytesIO(document), len(document))
    except BrokenDocument:
        return False
    return any(keys.get(key) == b"[" for key in PART_KEYS) and any(
        keys.get(key) in (b'"', b"[") for key in COMMON_KEYS
    )


def _is_alone(value: Any) -> bool:
    """Return whether an object over several lines is a record: texts or turns, no list of rows."""
    if not isinstance(value, dict):
        return False
    lists = list(_lists_of_objects(value))
    turns = [one for one in lists if all("role" in turn or "from" in turn for turn in one)]
    texts = any(one and isinstance(one, str | list) for one in value.values())
    return bool(turns) or (not lists and texts)


def _lists_of_objects(value: dict[str, Any]) -> Iterator[list[Any]]:
    """Yield the lists of objects in an object and in those within it."""
    for one in value.values():
        if isinstance(one, dict):
            yield from _lists_of_objects(one)
        elif isinstance(one, list) and one and all(isinstance(part, dict) for part in one):
            yield one


def _check_single(place: str, document: bytes) -> None:
    """Fail where one object follows another, each over several lines.

    Raises:
        UserError: one does.
    """
    text = document.decode(errors="replace").lstrip()
    try:
        _, end = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return
    if text[end:].lstrip().startswith("{"):
        raise UserError(
            f"{place}: JSON objects over several lines each follow one another; write each into one "
            "line, e.g. jq -c ."
        )


def read_elements(
    place: str, stream: IO[bytes], longest: int, split: str | None
) -> Iterator[Record]:
    """Yield the elements of the list of rows in a document.

    Raises:
        UserError: it is broken, or holds no single list of rows.
    """
    try:
        for position, element in enumerate(cut_document(stream, longest, split), start=1):
            if element.too_long:
                yield Record(position, element.raw[:BEGINNING], too_long=True)
                continue
            try:
                yield Record(position, element.raw, parse_record(element.raw), parsed=True)
            except JsonLimit:
                yield Record(position, element.raw)
            except orjson.JSONDecodeError as error:
                if not is_whole(element.raw):
                    raise _broken(place, element.line + error.lineno - 1, error.msg) from error
                yield Record(position, element.raw)
    except NoRows as error:
        raise without_rows(place, error, split) from error
    except BrokenDocument as error:
        raise _broken(place, error.line, error.problem) from error


def read_columns(document: bytes) -> list[dict[str, Any]] | None:
    """Return the rows of a JSON object of columns; None if it is none.

    {"a": [1, 2], "b": [3, 4]}                              lists of one length
    {"a": {"0": 1, "1": 2}, "b": {"0": 3, "1": 4}}          objects with the same numbers as keys
    {"columns": ["a", "b"], "index": [0], "data": [[1, 3]]}

    A conversation is no column: {"prompt": [{"role": ...}], "completion": [{"role": ...}]} is one row.
    """
    value = _parse_or_none(document)
    if not isinstance(value, dict) or not value:
        return None
    if set(value) == FRAME_KEYS and all(isinstance(part, list) for part in value.values()):
        names, rows = value["columns"], value["data"]
        if all(isinstance(row, list) and len(row) == len(names) for row in rows):
            return [_without_nulls(map(str, names), row) for row in rows]
    first = next(iter(value.values()))
    if isinstance(first, dict) and first and all(key.isdecimal() for key in first):
        if any(not isinstance(v, dict) or v.keys() != first.keys() for v in value.values()):
            return None
        value = {name: [column[key] for key in first] for name, column in value.items()}
    return _join_columns(value) if _are_columns(value) else None


def check_columns(place: str, document: bytes) -> None:
    """Fail where a key comes twice in a JSON object of columns: a whole column would go.

    Raises:
        UserError: one does.
    """
    key = repeated_key(document, _parse_or_none(document))
    if key is not None:
        raise UserError(f"{place}: the key {key!r:.80} comes twice in the columns; rename one")


def _are_columns(value: dict[str, Any]) -> bool:
    """Return whether the values are lists of one length, of which one at least is no list of turns."""
    columns = list(value.values())
    if any(not isinstance(c, list) or len(c) != len(columns[0]) for c in columns):
        return False
    kinds = [{type(part) for part in column} - {type(None)} for column in columns]
    if len(columns) == 1:
        # One list of texts or turns is a conversation, and a list of conversations a column.
        return kinds[0] == {list}
    return any(dict not in kind for kind in kinds)


def _join_columns(columns: dict[str, list[Any]]) -> list[dict[str, Any]]:
    return [_without_nulls(columns, row) for row in zip(*columns.values(), strict=True)]


def _without_nulls(names: Iterable[str], values: Iterable[Any]) -> dict[str, Any]:
    """Return a row: a column has a value or null in each, and null is the field that is not there."""
    return {k: v for k, v in zip(names, values, strict=True) if v is not None}


def _broken(place: str, line: int, problem: str) -> UserError:
    return UserError(
        f"{place}:{line}: the JSON document is broken ({problem}); "
        "mend it or convert it to JSON Lines, where one bad line costs one row"
    )


def without_rows(place: str, fault: NoRows, split: str | None) -> UserError:
    """Return the fault of a document without the list of rows that is to be read."""
    if split:
        splits = ", ".join(fault.lists) or "none"
        return UserError(f"{place}: there is no split {split!r}; splits here: {splits}")
    if len(fault.lists) > 1:
        return UserError(
            f"{place}: the JSON object holds several lists of rows ({', '.join(fault.lists)}); "
            f"name the one to read, e.g. `split: {fault.lists[0]}`"
        )
    return UserError(
        f"{place}: the JSON object holds no single list of rows under one of "
        f"{', '.join(LIST_KEYS)}; its keys are {fault}"
    )


def _parse_or_none(data: bytes) -> Any:
    try:
        return parse_record(data)
    except (orjson.JSONDecodeError, JsonLimit):
        return None
