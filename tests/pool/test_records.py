"""Records of pool files: told apart by content, with 1-based positions, in bounded memory."""

from __future__ import annotations

import gzip
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.pool.elements import cut_document
from curate.pool.files import PoolFile, digest_url, find_files
from curate.pool.records import read_records

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
    [{"version": 1, "count": 2}, {"data": {"a": 1}}],
)
def test_an_object_without_one_list_of_rows_names_its_keys(
    file: Path, document: dict[str, Any]
) -> None:
    file.write_text(json.dumps(document, indent=2))
    with pytest.raises(UserError, match=rf"rows.jsonl: .*its keys are {', '.join(document)}"):
        read(file)


@pytest.mark.parametrize("indent", [None, 1])
def test_an_object_whose_list_shares_an_instruction_is_one_record(
    file: Path, indent: int | None
) -> None:
    task = {"instruction": "Add.", "instances": [{"input": "1 2", "output": "3"}]}
    file.write_text(json.dumps(task, indent=indent))
    assert read(file) == [(1, task)]
    file.write_text(json.dumps({"canary": "x", "examples": task["instances"]}, indent=indent))
    assert read(file) == [(1, {"input": "1 2", "output": "3"})]


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


# --- limits -------------------------------------------------------------------------------------

LIMIT = 200


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no record be longer than 200 bytes, and documents be cut from blocks of 64."""
    monkeypatch.setattr("curate.pool.records.LONGEST", LIMIT)
    monkeypatch.setattr("curate.pool.elements.CHUNK", 64)


def outline(path: Path) -> list[tuple[int, bool]]:
    """Return position and whether it was too long, of every record."""
    return [(r.position, r.too_long) for r in read_records(PoolFile(str(path), "f"))]


BOMB = b'{"instruction": "' + b"x" * 3_000 + b'", "output": "b"}'


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (BOMB + b"\n" + LINES, [(1, True), (2, False), (3, False)]),
        (LINES + BOMB + b"\n" + LINES, [(1, False), (2, False), (3, True), (4, False), (5, False)]),
        (LINES + BOMB, [(1, False), (2, False), (3, True)]),
        (BOMB, [(1, True)]),
        (b"\n" * 9 + BOMB + b"\n\n" + LINES, [(10, True), (12, False), (13, False)]),
        (b"[" + BOMB + b", " + b"[1], " + BOMB + b"]", [(1, True), (2, False), (3, True)]),
        (b'{"data": [{"a": 1}, ' + BOMB + b"]}", [(1, False), (2, True)]),
        (b'{"about": ' + BOMB + b', "data": [{"a": 1}]}', [(1, True)]),
        (b'{"data": [' + b'{"a": 1}, ' * 100 + b'{"a": 1}]}', [(i, False) for i in range(1, 102)]),
        (b"[" * 5_000, [(1, True)]),
        (b"\0" * 5_000 + b"\n" + LINES, [(1, True), (2, False), (3, False)]),
    ],
    ids=range(11),
)
def test_what_is_too_long_is_one_record_and_costs_no_other(
    file: Path, data: bytes, expected: list[tuple[int, bool]], packed: bool
) -> None:
    file.write_bytes(gzip.compress(data) if packed else data)
    if data == b"[" * 5_000:
        with pytest.raises(UserError, match=r"rows.jsonl:1: the JSON document is broken"):
            outline(file)
    else:
        assert outline(file) == expected


@pytest.mark.usefixtures("small")
def test_of_what_is_too_long_only_the_beginning_is_held(file: Path) -> None:
    file.write_bytes(gzip.compress(b"[" + b"[" * 9_000 + b"]" * 9_000 + b", 1]"))
    assert len(next(read_records(PoolFile(str(file), "f"))).raw) <= LIMIT + 64


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers(-(2**70), 2**70)
        | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
        | st.sampled_from(['"', "\\", "[{", "}],", '\\\\"']),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=30,
    ).filter(lambda value: isinstance(value, list)),
    st.sampled_from([None, 1, "\t"]),
    st.booleans(),
    st.integers(1, 9),
)
def test_a_document_is_cut_as_a_parser_would(
    elements: list[Any], indent: Any, escaped: bool, chunk: int
) -> None:
    """Whatever the elements hold, and wherever the blocks that are read end."""
    text = json.dumps(elements, indent=indent, ensure_ascii=escaped)
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("curate.pool.elements.CHUNK", chunk)
        pieces = [e.raw for e in cut_document(io.BytesIO(data), 10**6)]
    assert [json.loads(piece) for piece in pieces] == elements


# --- encodings and other faults -----------------------------------------------------------------


def test_utf_32_is_refused_by_name(file: Path) -> None:
    file.write_bytes(LINES.decode().encode("utf-32"))
    with pytest.raises(UserError, match=r"rows.jsonl: the file is UTF-32 text; convert it"):
        read(file)


def test_lines_that_end_in_a_carriage_return_alone_are_told(file: Path) -> None:
    file.write_bytes(LINES.replace(b"\n", b"\r"))
    with pytest.raises(UserError, match=r"rows.jsonl: the lines end in a carriage return alone"):
        read(file)


def test_members_of_a_gzip_file_are_read_as_one(file: Path) -> None:
    half = len(LINES) // 2 + 3
    file.write_bytes(gzip.compress(LINES[:half]) + gzip.compress(b"") + gzip.compress(LINES[half:]))
    assert read(file) == [(1, ROWS[0]), (2, ROWS[1])]


@pytest.mark.parametrize("rest", [b"rubbish", b"\x1f\x8b", b"\x1f\x8b\x08garbage"])
def test_rubbish_behind_gzip_data_is_told_and_not_passed_over(file: Path, rest: bytes) -> None:
    file.write_bytes(gzip.compress(LINES) + rest)
    with pytest.raises(UserError, match=r"rows.jsonl: the gzip data is damaged or cut off"):
        read(file)


PIECES = st.sampled_from(
    [b"[", b"]", b"{", b"}", b'"', b"\\", b",", b":", b"\n", b"\r", b" ", b"\0", b"1", b"9" * 25,
     b"a", b"null", b"\xff", b"\xef\xbb\xbf", b"\x1f\x8b", b'"data":', b'{"a":1}', b"\\ud800",
     b"NaN", b"1e999", b"[" * 1_030, LINES]
)  # fmt: skip


@given(st.lists(PIECES | st.binary(max_size=8), max_size=12).map(b"".join), st.booleans())
def test_any_bytes_are_records_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, packed: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.jsonl"
    path.write_bytes(gzip.compress(data) if packed else data)
    try:
        records = list(read_records(PoolFile(str(path), "f")))
    except UserError as error:
        assert "any.jsonl" in str(error)
    else:
        positions = [record.position for record in records]
        assert positions == sorted(set(positions))


# --- changes ------------------------------------------------------------------------------------


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("change", ["other", "longer", "shorter", "broken"])
def test_a_file_that_changed_since_it_was_found_is_told(
    file: Path, change: str, packed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pool.containers.lines.BLOCK_BYTES", 10_000)
    many = LINES * 20_000
    data = {
        "other": many.replace(b"c", b"e"),
        "longer": many + LINES,
        "shorter": many[: -len(LINES)],
        "broken": b"[" + many,
    }

    def write(content: bytes) -> None:
        file.write_bytes(gzip.compress(content) if packed else content)

    write(many)
    [pool_file] = find_files(str(file))
    checked = replace(pool_file, digest=digest_url(pool_file))
    assert sum(1 for _ in read_records(checked)) == 40_000
    records = read_records(checked)
    next(records)
    write(data[change])
    with pytest.raises(
        UserError, match=r"rows.jsonl: the file changed while it was being read; run"
    ):
        list(read_records(checked))
    if not packed:
        # Opened before, and written over in place: what was read and what comes make no whole.
        with pytest.raises(UserError, match="changed while it was being read"):
            list(records)
