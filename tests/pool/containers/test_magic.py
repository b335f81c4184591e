"""Formats that are not read are refused by their name, wherever they lie; so is what is packed twice."""

from __future__ import annotations

import gzip
import io
import pickle
import sqlite3
import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from curate.core.errors import UserError
from curate.pool.files import PoolFile
from curate.pool.records import read_records

LINE = b'{"instruction": "a", "output": "b"}\n'


def fault(folder: Path, data: bytes) -> str:
    (folder / "rows.jsonl").write_bytes(data)
    with pytest.raises(UserError) as caught:
        list(read_records(PoolFile(str(folder / "rows.jsonl"), "f")))
    return str(caught.value)


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        info = tarfile.TarInfo("a.jsonl")
        info.size = len(LINE)
        archive.addfile(info, io.BytesIO(LINE))
    return out.getvalue()


def zipped(**files: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "."), data)
    return out.getvalue()


def locked() -> bytes:
    """Return a zip archive whose file is marked as one with a password."""
    data = bytearray(zipped(a__jsonl=LINE))
    for start, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(start) + flags] |= 1
    return bytes(data)


def parquet() -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), out)
    return out.getvalue()


def database(folder: Path) -> bytes:
    with sqlite3.connect(folder / "x.db") as connection:
        connection.execute("create table t (a)")
    return (folder / "x.db").read_bytes()


REFUSED = {
    "a tar archive": tar(),
    "a tar archive;": gzip.compress(tar()),
    "a Python pickle": pickle.dumps([{"a": 1}]),
    "a Git LFS pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n",
    "a web page": b"\n<!DOCTYPE html>\n<html><body>Sign in</body></html>",
    "an encrypted Parquet file": b"PARE" + bytes(99),
    "gzip within packed as gzip": gzip.compress(gzip.compress(LINE)),
    "Parquet within packed as gzip": gzip.compress(parquet()),
    "zip within a zip archive": zipped(a__zip=zipped(a__jsonl=LINE)),
    "needs a password": locked(),
    "an Office document": zipped(**{"[Content_Types]__xml": b"<x/>", "sheet__xml": b"<x/>"}),
    "holds no file of records": zipped(a__txt=b"x", b__md=b"y"),
    "it is empty": zipped(),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_not_read_is_refused_by_name(tmp_path: Path, name: str) -> None:
    sentence = fault(tmp_path, REFUSED[name])
    assert name in sentence
    assert "rows.jsonl" in sentence


def test_a_database_is_refused_by_name(tmp_path: Path) -> None:
    assert "an SQLite database" in fault(tmp_path, database(tmp_path))


def test_two_files_of_one_name_in_an_archive_are_told(tmp_path: Path) -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("a.jsonl", LINE)
        with pytest.warns(UserWarning, match="Duplicate name"):
            archive.writestr("a.jsonl", LINE)
    assert "holds two files 'a.jsonl'" in fault(tmp_path, out.getvalue())


def test_text_that_is_no_utf_16_names_the_byte(tmp_path: Path) -> None:
    data = LINE.decode().encode("utf-16") + b"\x00\xd8" + LINE.decode().encode("utf-16-le")
    assert f"is no UTF-16, as its first bytes say, at byte {len(LINE) * 2 + 2}" in fault(
        tmp_path, data
    )


def test_records_name_the_file_within_the_archive(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(zipped(**{"in/a__jsonl": LINE, "b__json": b"[" + LINE + b"]"}))
    records = list(read_records(PoolFile(str(tmp_path / "x"), "x.zip")))
    assert [(r.file_name("x.zip"), r.position) for r in records] == [
        ("x.zip/in/a.jsonl", 1),
        ("x.zip/b.json", 1),
    ]
