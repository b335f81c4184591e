"""Which files are cut, and into how much."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import UserError
from curate.pool import bigfiles
from curate.pool.bigfiles import cut_file
from curate.pool.cuts import GroupRange, LineRange
from curate.pool.files import PoolFile
from curate.pool.records import read_line_range


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolFile:
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", 40)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(b'{"prompt": "a", "completion": "%d"}\n' % n for n in range(9)))
    return PoolFile(f"file://{path}", path.name)


def test_a_file_that_is_cut_has_ranges_that_are_read_alone(file: PoolFile) -> None:
    cut = cut_file(file)
    assert cut is not None
    lines = [one for one in cut if isinstance(one, LineRange)]
    assert [(one.start, one.bytes, one.first) for one in lines] == [
        (0, 70, 1), (70, 70, 3), (140, 70, 5), (210, 70, 7), (280, 35, 9),
    ]  # fmt: skip
    third = lines[2]
    checked = replace(file, digest=third.digest)
    [block] = read_line_range(checked, third.start, third.bytes, third.first)
    assert [record.position for record in block.records()] == [5, 6]  # type: ignore[union-attr]
    with pytest.raises(UserError, match="the file changed"):
        list(read_line_range(checked, third.start + 35, third.bytes, third.first))
    path = Path(file.url.removeprefix("file://"))
    path.write_bytes(b"[" + path.read_bytes()[1:])
    assert list(read_line_range(checked, third.start, third.bytes, third.first)) == [block]


@pytest.mark.parametrize(
    "data",
    [
        b"\x1f\x8b",
        b"[{}, {}]" * 9,
        b"prompt,completion\na,b\n" * 9,
        b'{"data": [{}, {}]}' + b" " * 40,
    ],
)
def test_what_is_no_plain_json_lines_is_read_in_one_piece(file: PoolFile, data: bytes) -> None:
    Path(file.url.removeprefix("file://")).write_bytes(data)
    assert cut_file(file) is None


def test_small_files_splits_and_files_elsewhere_are_read_in_one_piece(
    file: PoolFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cut_file(replace(file, split="train")) is None
    assert cut_file(replace(file, url="s3://b/a.jsonl")) is None
    assert cut_file(replace(file, digest="0" * 40)) is None
    assert cut_file(replace(file, url="file:///nowhere.jsonl")) is None
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", 315)
    assert cut_file(file) is None


def test_a_file_has_so_many_ranges_at_most(file: PoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bigfiles, "MOST_RANGES", 3)
    cut = cut_file(file)
    assert cut is not None
    assert [one.first for one in cut] == [1, 6]


def table(folder: Path, groups: int = 4, **settings: object) -> PoolFile:
    """Return a Parquet file of groups that have 100 rows and 2,400 bytes when they are unpacked."""
    path = folder / "a.parquet"
    rows = pa.table(
        {"n": range(100 * groups), "m": [0.5] * 100 * groups, "o": [True] * 100 * groups}
    )
    pq.write_table(rows, path, row_group_size=100, use_dictionary=False, **settings)
    return PoolFile(f"file://{path}", path.name)


def test_a_parquet_file_is_cut_by_what_its_groups_take_up_when_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = table(tmp_path, compression="zstd")
    sizes = [
        pq.read_metadata(tmp_path / "a.parquet").row_group(i).total_byte_size for i in range(4)
    ]
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", sum(sizes[:2]))
    cut = cut_file(file)
    assert cut is not None
    groups = [one for one in cut if isinstance(one, GroupRange)]
    assert [(one.group, one.count, one.first) for one in groups] == [(0, 2, 1), (2, 2, 201)]
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", sum(sizes))
    assert cut_file(file) is None


def test_a_parquet_file_that_cannot_be_cut_is_read_in_one_piece(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One huge row group; a split that no such file has; a footer that is no footer."""
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", 100)
    assert cut_file(table(tmp_path, groups=1)) is None
    file = table(tmp_path)
    assert cut_file(file)
    assert cut_file(replace(file, split="train")) is None
    path = tmp_path / "a.parquet"
    path.write_bytes(path.read_bytes()[:-40] + b"?" * 32 + path.read_bytes()[-8:])
    assert cut_file(file) is None


def test_whatever_byte_of_a_footer_is_damaged_the_process_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asked for a column of an unknown codec, say, pyarrow would end it."""
    monkeypatch.setattr(bigfiles, "RANGE_BYTES", 1)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"prompt": ["a", "b"]}), path, row_group_size=1, store_schema=False)
    data, file = path.read_bytes(), PoolFile(f"file://{path}", path.name)
    assert cut_file(file)
    footer = pq.read_metadata(path).serialized_size + 8
    for at in range(len(data) - footer, len(data) - 8):
        path.write_bytes(data[:at] + b"\x28" + data[at + 1 :])
        cut_file(file)
