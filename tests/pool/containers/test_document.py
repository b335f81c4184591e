"""JSON documents: splits are named, columns are told from conversations."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from curate.core.errors import UserError
from curate.pool.containers.jsonvalue import parse_record
from curate.pool.files import PoolFile
from curate.pool.records import read_records

ONE, TWO = {"prompt": "a", "completion": "b"}, {"prompt": "c", "completion": "d"}


def read(folder: Path, data: bytes, split: str | None = None) -> list[Any]:
    (folder / "rows").write_bytes(data)
    records = read_records(PoolFile(str(folder / "rows"), "f", split=split))
    return [r.value if r.parsed else parse_record(r.raw) for r in records]


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_of_splits_asks_for_one_and_gives_it(tmp_path: Path, indent: int | None) -> None:
    data = json.dumps({"version": 1, "train": [ONE], "test": [TWO]}, indent=indent).encode()
    with pytest.raises(UserError, match=r"rows: .*\(train, test\); name .* `split: train`"):
        read(tmp_path, data)
    assert read(tmp_path, data, "train") == [ONE]
    assert read(tmp_path, data, "test") == [TWO]
    with pytest.raises(UserError, match="rows: there is no split 'dev'; splits here: train, test"):
        read(tmp_path, data, "dev")


def test_a_split_may_have_any_name(tmp_path: Path) -> None:
    data = json.dumps({"easy": [ONE], "hard": [TWO]}, indent=1).encode()
    assert read(tmp_path, data, "hard") == [TWO]


@pytest.mark.parametrize("data", [json.dumps(ONE).encode() + b"\n", b"a,b\n1,2\n", b"[]"])
def test_a_split_of_what_has_none_is_told(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UserError, match=r"rows: .*split"):
        read(tmp_path, data, "train")


RECORDS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]},
    {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "x", "content": "b"}]},
    {"conversation": ["a", "b"]},
    {"question": "a", "choices": ["b", "c"]},
    {"instruction": "a", "history": [["b", "c"]], "output": "d"},
]


@pytest.mark.parametrize("record", RECORDS)
def test_one_record_alone_is_no_table_of_columns(tmp_path: Path, record: dict[str, Any]) -> None:
    assert read(tmp_path, json.dumps(record).encode()) == [record]
    assert read(tmp_path, json.dumps(record, indent=2).encode()) == [record]


def test_objects_of_several_lines_that_follow_one_another_are_refused(tmp_path: Path) -> None:
    document = json.dumps(RECORDS[0], indent=2).encode()
    with pytest.raises(UserError, match=r"rows: JSON objects over several lines .* jq -c"):
        read(tmp_path, document + b"\n" + document)


NO_RECORDS = [
    {"version": 1},
    {"version": "1", "mine": [{"prompt": "a"}]},
    {"version": "1", "mine": {"train": [{"prompt": "a"}]}},
]


@pytest.mark.parametrize("value", NO_RECORDS)
def test_an_object_with_neither_texts_nor_turns_is_no_record(tmp_path: Path, value: Any) -> None:
    with pytest.raises(UserError, match="holds no single list of rows"):
        read(tmp_path, json.dumps(value, indent=2).encode())


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ({"prompt": ["a", "c"], "completion": ["b", "d"]}, [ONE, TWO]),
        ({"messages": [[1], [2, 3]]}, [{"messages": [1]}, {"messages": [2, 3]}]),
        ({"a": [1, None], "b": ["x", "y"]}, [{"a": 1, "b": "x"}, {"b": "y"}]),
        ({"a": {"3": 1, "7": 2}, "b": {"3": 4, "7": 5}}, [{"a": 1, "b": 4}, {"a": 2, "b": 5}]),
        ({"columns": ["a", "b"], "index": [0], "data": [[1, 2]]}, [{"a": 1, "b": 2}]),
    ],
)
@pytest.mark.parametrize("indent", [None, 2])
def test_columns_are_read_as_rows(
    tmp_path: Path, document: dict[str, Any], rows: list[Any], indent: int | None
) -> None:
    assert read(tmp_path, json.dumps(document, indent=indent).encode()) == rows
