"""Cuts of big files: whole lines, all bytes once, whatever the bytes and however they are read."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.pool import linecuts
from curate.pool.files import PoolFile, digest_url
from curate.pool.linecuts import cut_file, cut_lines
from curate.pool.records import read_line_range

texts = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcd" * 5, b"\n\n"])).map(b"".join)


@given(data=texts, size=st.integers(1, 40), block=st.integers(1, 9))
def test_ranges_are_the_fewest_whole_lines_of_a_size(data: bytes, size: int, block: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linecuts, "BLOCK", block)
        cut = cut_lines(io.BytesIO(data), size)
    parts = [data[one.start : one.start + one.bytes] for one in cut.ranges]
    assert b"".join(parts) == data
    for part in parts[:-1]:
        assert part.endswith(b"\n")
        assert len(part) >= size
    for part in parts:
        assert part
        assert len(part.rstrip(b"\n").rpartition(b"\n")[0]) < size
    firsts = [1 + data[: one.start].count(b"\n") for one in cut.ranges]
    assert [one.first for one in cut.ranges] == firsts


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PoolFile:
    monkeypatch.setattr(linecuts, "RANGE_BYTES", 40)
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"".join(b'{"prompt": "a", "completion": "%d"}\n' % n for n in range(9)))
    return PoolFile(f"file://{path}", path.name)


def test_a_file_that_is_cut_has_its_digest_and_ranges_that_are_read_alone(file: PoolFile) -> None:
    cut = cut_file(file)
    assert cut is not None
    assert cut.digest == digest_url(file)
    assert [(one.start, one.bytes, one.first) for one in cut.ranges] == [
        (0, 70, 1), (70, 70, 3), (140, 70, 5), (210, 70, 7), (280, 35, 9),
    ]  # fmt: skip
    third = cut.ranges[2]
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
    monkeypatch.setattr(linecuts, "RANGE_BYTES", 315)
    assert cut_file(file) is None


def test_a_file_has_so_many_ranges_at_most(file: PoolFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(linecuts, "MOST_RANGES", 3)
    cut = cut_file(file)
    assert cut is not None
    assert [one.first for one in cut.ranges] == [1, 6]
