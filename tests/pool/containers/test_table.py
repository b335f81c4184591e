"""Tables: a header, then rows by the line that each starts in; a bad row is one reject."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.pool.containers.record import Record
from curate.pool.files import PoolFile
from curate.pool.records import read_records


def read(folder: Path, data: bytes) -> list[Record]:
    (folder / "rows").write_bytes(data)
    return list(read_records(PoolFile(str(folder / "rows"), "f")))


def test_positions_are_the_lines_that_rows_start_in(tmp_path: Path) -> None:
    records = read(tmp_path, b'a,b\n1,"x\ny\n"\n\n2,z\n')
    assert [(r.position, r.value) for r in records] == [
        (2, {"a": "1", "b": "x\ny\n"}),
        (6, {"a": "2", "b": "z"}),
    ]


def test_a_table_with_no_row_has_no_records(tmp_path: Path) -> None:
    assert read(tmp_path, b"instruction,output\n") == []


def test_a_column_that_holds_whole_conversations_is_a_table_by_itself(tmp_path: Path) -> None:
    turns = '[{"role": "user", "content": "a"}]'
    quoted = turns.replace('"', '""')
    records = read(tmp_path, f'messages\n"{quoted}"\n\n""\n'.encode())
    assert [(r.position, r.value) for r in records] == [
        (2, {"messages": turns}),
        (4, {"messages": ""}),
    ]
    assert [r.value for r in read(tmp_path, b"\xef\xbb\xbftext\n7\n")] == [{"text": "7"}]
    assert [r.raw for r in read(tmp_path, b"word\na\n")] == [b"word", b"a"]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        (b"1", "1 cells below a header of 2"),
        (b"1,2,3", "3 cells below a header of 2"),
        (b'"1"x,2', "',' expected after '\"'; lines 3 to 3"),
    ],
)
def test_a_row_that_does_not_fit_is_one_reject_and_costs_no_other(
    tmp_path: Path, row: bytes, why: str
) -> None:
    good, bad, other = read(tmp_path, b"a,b\n1,2\n" + row + b"\n3,4\n")
    assert (good.value, other.position, other.value) == (
        {"a": "1", "b": "2"},
        4,
        {"a": "3", "b": "4"},
    )
    assert (bad.position, bad.raw, bad.fault) == (
        3,
        row + b"\n",
        (Reason.BAD_TABLE_ROW, why),
    )


def test_a_quotation_mark_that_is_never_closed_names_its_row(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows:3: a quotation mark in this row .* never closed"):
        read(tmp_path, b'a,b\n1,2\n3,"4\n5,6\n')


def test_a_row_without_end_is_told_and_never_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pool.records.LONGEST", 500)
    with pytest.raises(UserError, match=r"rows:2: the row of the table has more than 500 bytes"):
        read(tmp_path, b'a,b\n1,"' + b"x\n" * 1_000 + b'"\n')


def test_a_cell_may_be_longer_than_the_parser_usually_takes(tmp_path: Path) -> None:
    [record] = read(tmp_path, b"a,b\n1," + b"x" * 500_000)
    assert record.value["b"] == "x" * 500_000


def test_another_encoding_names_line_and_byte(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"rows:3: the table is not UTF-8 \(byte 0xe9 at column 6"):
        read(tmp_path, "a,b\n1,2\n1,caf\xe9\n".encode("latin-1"))


def test_names_of_columns_are_told_apart(tmp_path: Path) -> None:
    [record] = read(tmp_path, b",a\n0,x\n")
    assert record.value == {"column 1": "0", "a": "x"}
    with pytest.raises(UserError, match="rows:1: two columns of the table have the name 'a'"):
        read(tmp_path, b"a,a\n0,x\n")


@pytest.mark.parametrize(
    "data",
    [b'"a, b"\n{"a": 1}\n', b"oops, bad\n" + b'{"a": 1}\n', b"{bad, line\n1,2\n", b"word\nx\n"],
)
def test_json_lines_with_a_bad_first_line_are_no_table(tmp_path: Path, data: bytes) -> None:
    assert [record.position for record in read(tmp_path, data)] == [1, 2]
