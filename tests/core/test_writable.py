"""Folders of curate's own that cannot be written: one sentence with the setting that names another."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import polars as pl
import pytest

from curate.core.errors import UserError
from curate.core.writable import make_folder, written_below


def fault(number: int, path: Path | None) -> OSError:
    return OSError(number, os.strerror(number), path and str(path))


def test_a_folder_that_cannot_be_made_tells_its_setting(tmp_path: Path) -> None:
    assert make_folder(tmp_path / "a" / "b", "set X").is_dir()
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "below"
    with pytest.raises(UserError, match=rf"^{place} cannot be a folder \(.+\); set X$"):
        make_folder(place, "set X")


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.EROFS, "the file system is read-only"),
        (errno.EACCES, "permission denied"),
        (errno.ENOSPC, "the disk is full"),
    ],
)
def test_what_cannot_be_written_below_a_folder_tells_its_setting(
    tmp_path: Path, number: int, words: str
) -> None:
    for path in (tmp_path / "deep" / "file", None):
        with (
            pytest.raises(UserError, match=rf"{words}.*; set X$") as caught,
            written_below(tmp_path, "set X"),
        ):
            raise fault(number, path)
        assert str(caught.value).startswith(f"{path or tmp_path}: ")


def test_paths_are_compared_from_the_root_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"; set X$"), written_below(Path("out"), "set X"):
        raise fault(errno.ENOSPC, tmp_path / "out" / "file")


def test_a_library_that_finds_the_disk_full_is_told_with_the_folder(tmp_path: Path) -> None:
    with (
        pytest.raises(UserError, match=rf"^{tmp_path}: the disk is full.*; set X$"),
        written_below(tmp_path, "set X"),
    ):
        raise pl.exceptions.ComputeError("No space left on device (os error 28)")


def test_a_folder_that_polars_may_not_write_to_is_told(tmp_path: Path) -> None:
    """It gives the number of the fault in words alone."""
    place = tmp_path / "table.parquet"
    with (
        pytest.raises(UserError, match=rf"^{place}: permission denied.*; set X$"),
        written_below(tmp_path, "set X"),
    ):
        raise PermissionError(f"Permission denied (os error 13): {place}")


@pytest.mark.parametrize("free", [0, 2**30])
def test_a_table_for_which_a_disk_has_no_room_is_no_damaged_file(
    tmp_path: Path, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the end of a Parquet file has no room, polars says no more than this."""
    cut = "parquet: File out of specification: Invalid thrift: transport error"
    usage = shutil.disk_usage(tmp_path)._replace(free=free)
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(Exception, match=r".") as caught, written_below(tmp_path, "set X"):
        raise pl.exceptions.ComputeError(cut)
    full = "the disk is full" in str(caught.value)
    assert full == (not free)


@pytest.mark.parametrize(
    "error",
    [
        fault(errno.EACCES, Path("/a/file/of/the/user")),
        fault(errno.ENOSPC, Path("/a/file/on/another/disk")),
        fault(errno.ENOENT, None),
        ValueError("x"),
        UserError("No space left on device, says a user's fault"),
    ],
)
def test_other_faults_stay_what_they_are(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(type(error)) as caught, written_below(tmp_path, "set X"):
        raise error
    assert caught.value is error
