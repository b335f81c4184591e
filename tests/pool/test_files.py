"""Pool files: found by path, told apart by content, read with 1-based positions."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.errors import UserError
from curate.pool.files import PoolFile, digest_url, find_files, read_records

ROWS = [{"instruction": "a", "output": "b"}, {"instruction": "c", "output": "d"}]
LINES = b'{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": "d"}\n'


def read(path: Path) -> list[tuple[int, Any]]:
    """Return position and value (or raw bytes, where they are not JSON) of every record."""

    def value(record: Any) -> Any:
        if record.parsed:
            return record.value
        try:
            return orjson.loads(record.raw)
        except orjson.JSONDecodeError:
            return record.raw

    return [(record.position, value(record)) for record in read_records(PoolFile(str(path), "f"))]


def names(files: Sequence[PoolFile]) -> list[str]:
    return [file.name for file in files]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "rows.jsonl"


DOCUMENTS = {
    "lines": LINES,
    "no final newline": LINES[:-1],
    "crlf": LINES.replace(b"\n", b"\r\n"),
    "bom": b"\xef\xbb\xbf" + LINES,
    "spaces around": b"  " + LINES.replace(b"\n", b" \t\n"),
    "array": json.dumps(ROWS).encode(),
    "array with bom": b"\xef\xbb\xbf" + json.dumps(ROWS).encode(),
    "pretty array": json.dumps(ROWS, indent=2).encode(),
    "pretty array, crlf": json.dumps(ROWS, indent=2).replace("\n", "\r\n").encode(),
    "array with a row a line": b"[\n" + LINES.replace(b"}\n{", b"},\n{") + b"]",
    "array after blank lines": b"\n\n" + json.dumps(ROWS).encode() + b"\n\n",
    "pretty object": json.dumps({"data": ROWS}, indent=2).encode(),
    "pretty object with more keys": json.dumps({"v": "1", "rows": ROWS}, indent=1).encode(),
    "object whose list opens in line 1": b'{"data": [\n'
    + LINES.replace(b"}\n{", b"},\n{")
    + b"]}\n",
    "object in one line": json.dumps({"data": ROWS}).encode(),
    "object in one line with more keys": json.dumps({"v": "1", "examples": ROWS}).encode(),
    "object with a key before the list": b'{"v": "1",\n "data": '
    + json.dumps(ROWS).encode()
    + b"}",
}


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("form", DOCUMENTS)
def test_the_same_rows_are_read_from_every_container(file: Path, form: str, packed: bool) -> None:
    """The suffix says jsonl whatever the content is: only content counts."""
    data = DOCUMENTS[form]
    file.write_bytes(gzip.compress(data) if packed else data)
    assert read(file) == [(1, ROWS[0]), (2, ROWS[1])]


@pytest.mark.parametrize("key", ["data", "rows", "examples", "instances", "train"])
def test_every_usual_key_of_a_list_of_rows_is_known(file: Path, key: str) -> None:
    file.write_text(json.dumps({"about": {"rows": 2}, key: ROWS}, indent=2))
    assert read(file) == [(1, ROWS[0]), (2, ROWS[1])]


@pytest.mark.parametrize(
    "document",
    [{"instruction": "a", "output": "b"}, {"data": ROWS, "train": ROWS}, {"data": {"a": 1}}],
)
def test_an_object_without_one_list_of_rows_names_its_keys(
    file: Path, document: dict[str, Any]
) -> None:
    file.write_text(json.dumps(document, indent=2))
    with pytest.raises(UserError, match=rf"rows.jsonl: .*its keys are {', '.join(document)}"):
        read(file)


def test_blank_lines_are_no_records_but_count_as_lines(file: Path) -> None:
    file.write_bytes(b"\n \t\r\n" + LINES.replace(b"\n", b"\n\n\n") + b"\n{bad\n")
    assert read(file) == [(3, ROWS[0]), (6, ROWS[1]), (10, b"{bad")]


@given(
    st.lists(st.sampled_from([b"", b" ", b"\t\r", b'{"a": 1}', b"{bad", b"\xff", b'"x"', b"7"])),
    st.sampled_from([b"\n", b"\r\n"]),
    st.booleans(),
    st.booleans(),
)
def test_positions_are_line_numbers(
    tmp_path_factory: pytest.TempPathFactory,
    lines: list[bytes],
    ending: bytes,
    last: bool,
    bom: bool,
) -> None:
    path = tmp_path_factory.getbasetemp() / "positions.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" * bom + ending.join(lines) + ending * last)
    expected = [(i, line) for i, line in enumerate(lines, start=1) if line.strip()]
    assert [(r.position, r.raw) for r in read_records(PoolFile(str(path), "f"))] == expected


@pytest.mark.parametrize("bom", [b"", b"\xef\xbb\xbf"])
def test_an_array_by_mistake_in_line_1_costs_one_row(file: Path, bom: bytes) -> None:
    file.write_bytes(bom + b"[1, 2]\n" + LINES)
    assert read(file) == [(1, [1, 2]), (2, ROWS[0]), (3, ROWS[1])]


def test_an_object_by_mistake_in_line_1_costs_one_row(file: Path) -> None:
    file.write_bytes(b'{"oops": [\n' + LINES)
    assert read(file) == [(1, b'{"oops": ['), (2, ROWS[0]), (3, ROWS[1])]


@pytest.mark.parametrize("data", [b"[" + LINES.replace(b"\n", b",\n"), b'{\n"data": [1,\n2\n'])
def test_a_cut_off_document_names_file_and_line(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    with pytest.raises(UserError, match=r"rows.jsonl:\d: the JSON document is broken \("):
        read(file)


@pytest.mark.parametrize("data", [b"", b"\n\n \n", b"\xef\xbb\xbf", b"[]", b"[\n]\n"])
def test_an_empty_file_has_no_records(file: Path, data: bytes) -> None:
    file.write_bytes(data)
    assert read(file) == []


def test_a_truncated_gzip_file_is_a_user_error(file: Path) -> None:
    data = gzip.compress(LINES * 2_000)
    for cut in (3, 12, len(data) // 2, len(data) - 9, len(data) - 4):
        file.write_bytes(data[:cut])
        with pytest.raises(UserError, match=r"rows.jsonl: the gzip data is damaged or cut off"):
            read(file)


def test_a_damaged_gzip_file_is_a_user_error_wherever_the_damage_is(file: Path) -> None:
    data = gzip.compress(b"".join(b'{"n": "%d"}\n' % (i * i) for i in range(3_000)))
    for place in range(10, len(data), len(data) // 60):
        bad = bytearray(data)
        bad[place] ^= 0xFF
        file.write_bytes(bytes(bad))
        with pytest.raises(UserError, match=r"rows.jsonl: the gzip data is damaged or cut off"):
            read(file)


def test_a_line_of_a_megabyte_is_one_record(file: Path) -> None:
    long = {"instruction": "x" * 2**20, "output": "b"}
    file.write_bytes(json.dumps(long).encode() + b"\n" + LINES)
    assert read(file) == [(1, long), (2, ROWS[0]), (3, ROWS[1])]


def test_elements_of_an_array_keep_integers_of_any_size(file: Path) -> None:
    file.write_text(json.dumps([{"id": 2**64 - 1}, {"id": -(2**63)}]))
    assert read(file) == [(1, {"id": 2**64 - 1}), (2, {"id": -(2**63)})]


# --- finding ------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.json", "sub/c.jsonl.gz", "sub/deep/d.ndjson", "notes.txt", "e.csv"):
        path = tmp_path / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINES)
    return tmp_path / "pool"


def test_a_folder_gives_its_json_files_at_any_depth_sorted_by_name(folder: Path) -> None:
    expected = ["a.json", "b.jsonl", "sub/c.jsonl.gz", "sub/deep/d.ndjson"]
    assert names(find_files(str(folder))) == expected
    assert names(find_files(f"{folder}/")) == expected


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("*.jsonl", ["b.jsonl"]),
        ("*", ["a.json", "b.jsonl", "e.csv", "notes.txt"]),
        ("sub/*", ["c.jsonl.gz"]),
        ("**/*.ndjson", ["sub/deep/d.ndjson"]),
        ("s*/c*", ["sub/c.jsonl.gz"]),
        ("[ab].*", ["a.json", "b.jsonl"]),
        ("b.jsonl", ["b.jsonl"]),
        ("notes.txt", ["notes.txt"]),
    ],
)
def test_names_are_relative_to_the_part_without_wildcards(
    folder: Path, pattern: str, expected: list[str]
) -> None:
    assert names(find_files(f"{folder}/{pattern}")) == expected


def test_names_do_not_depend_on_where_the_folder_lies(folder: Path, tmp_path: Path) -> None:
    before = [(f.name, digest_url(f)) for f in find_files(str(folder))]
    moved = folder.rename(tmp_path / "elsewhere")
    assert [(f.name, digest_url(f)) for f in find_files(str(moved))] == before


def test_relative_paths_and_urls_name_the_same_files(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    assert find_files("pool/*.jsonl") == find_files(f"file://{folder}/*.jsonl")


def test_a_file_whose_name_has_brackets_is_found(folder: Path) -> None:
    (folder / "rows[1].jsonl").write_bytes(LINES)
    assert names(find_files(str(folder / "rows[1].jsonl"))) == ["rows[1].jsonl"]


@pytest.mark.parametrize("path", ["gone.jsonl", "gone/*.jsonl", "empty"])
def test_a_path_that_leads_nowhere_is_a_user_error(tmp_path: Path, path: str) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no file .*(gone|empty).*relative to the folder"):
        find_files(str(tmp_path / path))
