"""The folder of this machine for what runs have in common."""

from __future__ import annotations

from pathlib import Path

import pytest

from curate.core.bucket import BucketStore
from curate.core.cachefolder import cache_root, make_cache_folder
from curate.core.errors import UserError
from curate.models.load import find_model, prepare


def test_it_is_that_of_the_variable_or_in_the_home_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CURATE_CACHE")
    assert cache_root() == tmp_path / ".cache" / "curate"
    monkeypatch.setenv("CURATE_CACHE", "")
    assert cache_root() == tmp_path / ".cache" / "curate"
    monkeypatch.setenv("CURATE_CACHE", "~/other")
    assert make_cache_folder("models") == tmp_path / "other" / "models"
    assert (tmp_path / "other" / "models").is_dir()


def test_a_user_without_a_home_folder_is_told_of_the_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As in a container that runs as a user of no name."""
    monkeypatch.delenv("CURATE_CACHE")
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("os.getuid", lambda: 54_321)
    with pytest.raises(UserError, match=r"no home folder.*; set CURATE_CACHE to a folder"):
        cache_root()


def test_whatever_needs_it_tells_of_the_variable_where_it_cannot_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("CURATE_CACHE", str(tmp_path / "file"))
    words = rf"^{tmp_path}/file/\S+ cannot be a folder \(.+\); set CURATE_CACHE to a folder"
    with pytest.raises(UserError, match=words):
        prepare(find_model("smollm2-135m"))
    with pytest.raises(UserError, match=words):
        BucketStore("s3://bucket/curate")
