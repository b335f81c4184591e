"""Pool files: found by path, folder, glob or URL; regular files alone, by their literal names."""

from __future__ import annotations

import os
import re
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import fsspec
import pytest

from curate.core.errors import UserError
from curate.pool.files import PoolFile, digest_url, find_files, open_checked

LINES = b'{"instruction": "a", "output": "b"}\n{"instruction": "c", "output": "d"}\n'


def names(files: Sequence[PoolFile]) -> list[str]:
    return [file.name for file in files]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.jsonl", "a.json", "sub/c.jsonl.gz", "sub/deep/d.ndjson", "notes.txt", "e.csv"):
        path = tmp_path / "pool" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(LINES)
    return tmp_path / "pool"


def test_a_folder_gives_its_files_of_records_at_any_depth_sorted_by_name(folder: Path) -> None:
    expected = ["a.json", "b.jsonl", "e.csv", "sub/c.jsonl.gz", "sub/deep/d.ndjson"]
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


# --- literal names ------------------------------------------------------------------------------

ODD_NAMES = ("a[1]", "a*b", "a?b", "{x}", "%20", "#h", "x::y", "file:", "~", "zip::z")


@pytest.mark.parametrize("name", ODD_NAMES)
@pytest.mark.parametrize("start", ["", "abs", "file://"])
def test_a_folder_of_any_name_gives_its_own_files_and_not_its_siblings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in (name, "a1", "axb"):
        Path(folder).mkdir()
        (tmp_path / folder / "rows.jsonl").write_bytes(folder.encode())
        (tmp_path / folder / "b[1].jsonl").write_bytes(folder.encode())
        (tmp_path / folder / "b1.jsonl").write_bytes(b"sibling")
    place = {"": name, "abs": str(tmp_path / name), "file://": f"file://{tmp_path / name}"}[start]
    for path, expected in (
        (place, ["b1.jsonl", "b[1].jsonl", "rows.jsonl"]),
        (f"{place}/rows.jsonl", ["rows.jsonl"]),
        (f"{place}/r*.jsonl", ["rows.jsonl"]),
        (f"{place}/b[1].jsonl", ["b[1].jsonl"]),
        (f"{place}/**/r?ws.jsonl", ["rows.jsonl"]),
    ):
        files = find_files(path)
        assert names(files) == expected
        for file in files:
            if file.name != "b1.jsonl":
                with open_checked(file) as handle:
                    assert handle.read() == name.encode()


def test_a_glob_in_a_folder_whose_own_name_is_a_pattern_starts_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("w[1]", "w1"):
        (tmp_path / folder / "pool").mkdir(parents=True)
        (tmp_path / folder / "pool" / f"{folder[:2]}.jsonl").write_bytes(LINES)
    monkeypatch.chdir(tmp_path / "w[1]")
    assert names(find_files("pool/*.jsonl")) == ["w[.jsonl"]
    assert names(find_files("p*/*")) == ["pool/w[.jsonl"]


def test_a_pattern_is_a_glob_only_where_no_such_file_is(folder: Path) -> None:
    assert names(find_files(f"{folder}/[b].jsonl")) == ["b.jsonl"]
    (folder / "[b].jsonl").write_bytes(LINES)
    assert names(find_files(f"{folder}/[b].jsonl")) == ["[b].jsonl"]


def test_urls_of_other_filesystems_are_read_by_their_literal_path_too() -> None:
    filesystem = fsspec.filesystem("memory")
    for place in ("/odd/a[1]/r[1].jsonl", "/odd/a1/r1.jsonl", "/odd/a[1]/r1.jsonl"):
        filesystem.pipe(place, place.encode())
    for path, expected in (
        ("memory://odd/a[1]/r[1].jsonl", ["r[1].jsonl"]),
        ("memory://odd/a[1]/r*", ["r1.jsonl", "r[1].jsonl"]),
        ("memory://odd/a?/*", ["a1/r1.jsonl"]),
        ("memory://odd/a[1]", ["r1.jsonl", "r[1].jsonl"]),
    ):
        files = find_files(path)
        assert names(files) == expected
        for file in files:
            with open_checked(file) as handle:
                assert handle.read().decode().endswith(file.name)


@pytest.mark.parametrize(
    "pattern",
    ["a**b", "[z-a]*", "[!", "x\0y", "x" * 5_000, "a/" * 3_000 + "*"],
    ids=range(6),
)
def test_a_path_that_cannot_be_is_a_user_error(folder: Path, pattern: str) -> None:
    with pytest.raises(UserError):
        find_files(f"{folder}/{pattern}")


# --- what is no file ----------------------------------------------------------------------------


def odd(folder: Path, kind: str) -> Path:
    """Make something that is no regular file."""
    path = folder / f"{kind}.jsonl"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to(folder / "gone")
    elif kind == "loop":
        path.symlink_to(path)
    elif kind == "device":
        path.symlink_to("/dev/zero")
    elif kind == "socket":
        # The path of a socket is short, so it is made from within the folder.
        here = Path.cwd()
        os.chdir(folder)
        socket.socket(socket.AF_UNIX).bind(path.name)
        os.chdir(here)
    return path


FAULTS = {
    "pipe": "is a named pipe",
    "dangling": "is a link to nothing",
    "loop": r"cannot be read \(Too many levels of symbolic links\)",
    "device": "is a device",
    "socket": "is a socket",
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_path_to_no_file_is_told_and_never_opened(folder: Path, kind: str) -> None:
    path = odd(folder, kind)
    with pytest.raises(UserError, match=rf"{kind}.jsonl {FAULTS[kind]}"):
        find_files(str(path))


def test_what_is_no_file_is_left_out_of_folders_and_globs_and_named_in_the_log(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for kind in FAULTS:
        odd(folder, kind)
    (folder / "linked").symlink_to(folder / "sub")
    (folder / "folder.jsonl").mkdir()
    for path in (str(folder), f"{folder}/**/*"):
        caplog.clear()
        assert {"a.json", "b.jsonl", "sub/c.jsonl.gz"} <= set(names(find_files(path)))
        left_out = "\n".join(caplog.messages)
        for kind in FAULTS:
            assert left_out.count(f"/{kind}.jsonl ") == 1
        assert "linked is a link to a folder that is read already: not followed" in left_out


def test_a_folder_named_like_a_file_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "x.jsonl").mkdir()
    (tmp_path / "x.jsonl" / "y.jsonl").write_bytes(LINES)
    assert names(find_files(str(tmp_path / "x.jsonl"))) == ["y.jsonl"]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("place", ["b.jsonl", "sub"])
def test_what_may_not_be_read_is_told_by_its_path(folder: Path, place: str) -> None:
    (folder / place).chmod(0)
    try:
        with pytest.raises(UserError, match=rf"{place}: cannot be read \(Permission denied\)"):
            [digest_url(file) for file in find_files(str(folder))]
    finally:
        (folder / place).chmod(0o700)


def test_a_file_that_vanishes_is_told_by_its_path(folder: Path) -> None:
    [file] = find_files(str(folder / "b.jsonl"))
    (folder / "b.jsonl").unlink()
    with pytest.raises(UserError, match=r"b.jsonl: cannot be read \(No such file"):
        digest_url(file)


# --- folders ------------------------------------------------------------------------------------


def test_what_is_no_data_is_left_out_of_a_folder_and_named_once(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    odd = (
        ".hidden.jsonl",
        "._b.jsonl",
        ".ipynb_checkpoints/b.jsonl",
        "dataset_infos.json",
        "state.json",
    )
    for name in odd:
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(LINES)
    for path in (str(folder), f"{folder}/**"):
        caplog.clear()
        assert not {*odd} & {*names(find_files(path))}
        assert all(caplog.text.count(f"{name}") == 1 for name in odd)


def test_a_linked_folder_is_followed_once(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("x.jsonl", "deep/y.jsonl"):
        (tmp_path / "other" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "other" / name).write_bytes(LINES)
    (folder / "one").symlink_to(tmp_path / "other")
    (folder / "two").symlink_to(tmp_path / "other")
    (folder / "sub" / "loop").symlink_to(folder)
    (tmp_path / "other" / "back").symlink_to(tmp_path)
    names_in_folder = names(find_files(str(folder)))
    expected = ["a.json", "b.jsonl", "e.csv", "one/deep/y.jsonl", "one/x.jsonl"]
    assert names_in_folder == [*expected, "sub/c.jsonl.gz", "sub/deep/d.ndjson"]
    for link in ("two", "sub/loop"):
        assert caplog.text.count(f"{folder}/{link} is a link to a folder that is read already") == 1
    assert caplog.text.count(f"{folder}/one/back is a link to a folder around it") == 1


@pytest.mark.parametrize(
    ("path", "package", "extra"),
    [
        ("s3://bucket/x", "s3fs", "s3"),
        ("gs://bucket/x.jsonl", "gcsfs", "gcs"),
        ("az://container/*.jsonl", "adlfs", "azure"),
    ],
)
def test_a_missing_driver_is_named_with_the_extra_that_brings_it(
    path: str, package: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    registry: Any = sys.modules["fsspec.registry"]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.delitem(registry._registry, path.partition(":")[0], raising=False)
    expected = (
        f"pip install {package}, or curate with its extra: pip install 'curate-data[{extra}]'"
    )
    with pytest.raises(UserError, match=re.escape(expected)):
        find_files(path)


def test_an_address_of_no_driver_is_one_sentence() -> None:
    with pytest.raises(UserError, match=r"nosuch://x/y: cannot be reached \(Protocol not known"):
        find_files("nosuch://x/y")
