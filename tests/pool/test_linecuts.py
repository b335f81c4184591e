"""Cuts of JSON Lines: whole lines, all bytes once, whatever the bytes and however they are read."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.pool import linecuts
from curate.pool.linecuts import cut_lines

texts = st.lists(st.sampled_from([b"\n", b"\r\n", b"a", b"bcd" * 5, b"\n\n"])).map(b"".join)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cuts")


@given(data=texts, size=st.integers(1, 40), block=st.integers(1, 9))
def test_ranges_are_the_fewest_whole_lines_of_a_size(
    folder: Path, data: bytes, size: int, block: int
) -> None:
    path = folder / "a.jsonl"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(linecuts, "BLOCK", block)
        ranges = cut_lines(path, size)
    parts = [data[one.start : one.start + one.bytes] for one in ranges]
    assert b"".join(parts) == data
    for part in parts[:-1]:
        assert part.endswith(b"\n")
        assert len(part) >= size
    for part in parts:
        assert part
        assert len(part.rstrip(b"\n").rpartition(b"\n")[0]) < size
    assert [one.digest for one in ranges] == [
        hashlib.blake2b(part, digest_size=16).hexdigest() for part in parts
    ]
    firsts = [1 + data[: one.start].count(b"\n") for one in ranges]
    assert [one.first for one in ranges] == firsts
