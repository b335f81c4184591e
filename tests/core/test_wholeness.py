"""Stored files: read once, then trusted as long as the file system tells of no change."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from curate.core import wholeness
from curate.core.digests import digest_file
from curate.core.wholeness import SMALL_BYTES, FileRecord, damaged_files, is_whole

LARGE = b"a large file of rows " * SMALL_BYTES
FILES = {"rows.parquet": LARGE, "verdict.json": b'{"verdict": "better"}', "deep/empty": b""}


@pytest.fixture
def records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, FileRecord]:
    """What a manifest tells of the files of an artifact, which have settled."""
    monkeypatch.setattr(wholeness, "SETTLED_SECONDS", -1.0)
    for name, content in FILES.items():
        path = tmp_path / "artifact" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return {
        name: {"bytes": len(content), "digest": digest_file(tmp_path / "artifact" / name)}
        for name, content in FILES.items()
    }


def whole(tmp_path: Path, records: dict[str, FileRecord]) -> bool:
    return is_whole(tmp_path / "artifact", records, tmp_path / "verified" / "artifact")


@pytest.fixture
def read_files(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that were read."""
    names: list[str] = []

    def digest(path: Path) -> str:
        names.append(path.name)
        return digest_file(path)

    monkeypatch.setattr(wholeness, "digest_file", digest)
    return names


def test_a_large_file_is_read_once_and_small_ones_every_time(
    tmp_path: Path, records: dict[str, FileRecord], read_files: list[str]
) -> None:
    assert whole(tmp_path, records)
    assert sorted(read_files) == ["empty", "rows.parquet", "verdict.json"]
    read_files.clear()
    assert whole(tmp_path, records)
    assert sorted(read_files) == ["empty", "verdict.json"]


def test_files_that_changed_just_now_are_not_trusted_yet(
    tmp_path: Path,
    records: dict[str, FileRecord],
    read_files: list[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second change within a tick of the file system's clock would not show."""
    monkeypatch.setattr(wholeness, "SETTLED_SECONDS", 60.0)
    assert whole(tmp_path, records)
    assert whole(tmp_path, records)
    assert read_files.count("rows.parquet") == 2


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    with path.open("r+b") as file:
        file.write(data)


def replace_file(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes()[::-1])
    other.replace(path)


def keep_times(change: Callable[[Path], object]) -> Callable[[Path], object]:
    """Return a change after which the file claims to be as old as before."""

    def changed(path: Path) -> None:
        before = path.stat()
        change(path)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    return changed


CHANGES: list[Callable[[Path], object]] = [
    flip,
    replace_file,
    keep_times(flip),
    keep_times(replace_file),
    lambda path: os.truncate(path, path.stat().st_size - 1),
    lambda path: path.write_bytes(b""),
    Path.unlink,
]


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_of_a_checked_file_is_noticed(
    tmp_path: Path, records: dict[str, FileRecord], change: Callable[[Path], object]
) -> None:
    assert whole(tmp_path, records)
    change(tmp_path / "artifact" / "rows.parquet")
    assert not whole(tmp_path, records)
    assert not whole(tmp_path, records)
    assert damaged_files(tmp_path / "artifact", records) == ["rows.parquet"]


def test_a_copied_store_is_read_anew(
    tmp_path: Path, records: dict[str, FileRecord], read_files: list[str]
) -> None:
    """Its records came along, and a copy can be damaged without a word."""
    assert whole(tmp_path, records)
    shutil.copytree(tmp_path, tmp_path / "copy")
    flip(tmp_path / "copy" / "artifact" / "rows.parquet")
    assert not whole(tmp_path / "copy", records)


def test_a_bit_that_flips_without_a_write_shows_in_small_files_and_where_all_are_read(
    tmp_path: Path, records: dict[str, FileRecord]
) -> None:
    record = tmp_path / "verified" / "artifact"
    for name, noticed in (("verdict.json", True), ("rows.parquet", False)):
        flip(tmp_path / "artifact" / name)
        # As if the file system had not been told.
        record.parent.mkdir(exist_ok=True)
        record.write_text(wholeness._stamp(tmp_path / "artifact", records)[0])
        assert whole(tmp_path, records) != noticed
        assert damaged_files(tmp_path / "artifact", records) == [name]
        flip(tmp_path / "artifact" / name)


def test_a_store_that_cannot_be_written_is_read_every_time(
    tmp_path: Path, records: dict[str, FileRecord], read_files: list[str]
) -> None:
    (tmp_path / "verified").write_text("no folder")
    assert whole(tmp_path, records)
    assert whole(tmp_path, records)
    assert read_files.count("rows.parquet") == 2
