"""The same records are read from every container, and damage is one sentence."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.pool.containers.jsonvalue import parse_record
from curate.pool.files import PoolFile
from curate.pool.records import read_records
from tests.conftest import examples

Rows = Sequence[dict[str, Any]]


def read(data: bytes, folder: Path) -> list[Any]:
    """Return the value of each record of a file with this content."""
    path = folder / "rows"
    path.write_bytes(data)
    records = list(read_records(PoolFile(str(path), "f")))
    assert not any(record.fault for record in records)
    return [r.value if r.parsed else parse_record(r.raw) for r in records]


def lines(rows: Rows) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def parquet(rows: Rows) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(list(rows)), out, row_group_size=2)
    return out.getvalue()


def arrow(rows: Rows, new: Callable[..., Any]) -> bytes:
    out, table = io.BytesIO(), pa.Table.from_pylist(list(rows))
    with new(out, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)
    return out.getvalue()


def zipped(files: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return out.getvalue()


def zstd(data: bytes) -> bytes:
    return bytes(pa.Codec("zstd").compress(data, asbytes=True))


def columns(rows: Rows) -> dict[str, list[Any]]:
    return {key: [row[key] for row in rows] for key in rows[0]}


NESTED: dict[str, Callable[[Rows], bytes]] = {
    "lines": lines,
    "lines, utf-16": lambda rows: lines(rows).decode().encode("utf-16"),
    "lines, utf-16-be": lambda rows: ("\ufeff" + lines(rows).decode()).encode("utf-16-be"),
    "array": lambda rows: json.dumps(rows).encode(),
    "array, utf-16": lambda rows: json.dumps(rows, indent=1).encode("utf-16"),
    "object": lambda rows: json.dumps({"about": "x", "data": rows}, indent=2).encode(),
    "columns": lambda rows: json.dumps(columns(rows)).encode(),
    "columns with numbers": lambda rows: json.dumps(
        {k: {str(i): v for i, v in enumerate(vs)} for k, vs in columns(rows).items()}
    ).encode(),
    "frame": lambda rows: json.dumps(
        {
            "columns": list(rows[0]),
            "index": list(range(len(rows))),
            "data": [[row[key] for key in rows[0]] for row in rows],
        }
    ).encode(),
    "gzip": lambda rows: gzip.compress(lines(rows)),
    "zstd": lambda rows: zstd(lines(rows)),
    "zstd, two frames": lambda rows: zstd(lines(rows)[:9]) + zstd(lines(rows)[9:]),
    "bz2": lambda rows: bz2.compress(lines(rows)),
    "bz2, two streams": lambda rows: bz2.compress(lines(rows)[:9]) + bz2.compress(lines(rows)[9:]),
    "xz": lambda rows: lzma.compress(lines(rows)),
    "xz, padded": lambda rows: lzma.compress(lines(rows)) + bytes(8),
    "gzip of an array": lambda rows: gzip.compress(json.dumps(rows).encode()),
    "zip": lambda rows: zipped({"any name": lines(rows)}),
    "zip of several": lambda rows: zipped(
        {
            "a.jsonl": lines(rows[:1]),
            "README.md": b"about",
            "__MACOSX/._a.jsonl": b"\0\1",
            "b.json.gz": gzip.compress(json.dumps(rows[1:]).encode()),
        }
    ),
    "parquet": parquet,
    "arrow file": lambda rows: arrow(rows, pa.ipc.new_file),
    "arrow stream": lambda rows: arrow(rows, pa.ipc.new_stream),
    "arrow stream, gzip": lambda rows: gzip.compress(arrow(rows, pa.ipc.new_stream)),
}


def table(rows: Rows, delimiter: str, end: str = "\n", encoding: str = "utf-8") -> bytes:
    out = io.StringIO()
    writer = csv.DictWriter(out, list(rows[0]), delimiter=delimiter, lineterminator=end)
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode(encoding)


FLAT: dict[str, Callable[[Rows], bytes]] = {
    "csv": lambda rows: table(rows, ","),
    "csv with crlf and bom": lambda rows: table(rows, ",", "\r\n", "utf-8-sig"),
    "csv with semicolons": lambda rows: table(rows, ";"),
    "tsv": lambda rows: table(rows, "\t"),
    "tsv, utf-16": lambda rows: table(rows, "\t", "\r\n", "utf-16"),
    "csv, xz": lambda rows: lzma.compress(table(rows, ",")),
}

TEXT = st.text(
    st.characters(exclude_categories=["Cs"], exclude_characters="\r"), max_size=12
) | st.sampled_from(
    ['a "quoted" word', "two\nlines", "tab\there", "a,b;c", "{", "[1]", '"', "\ufeff", "NaN", "'"]
)
FLAT_ROW = st.fixed_dictionaries({"prompt": TEXT, "completion": TEXT, "source": TEXT})
TURN = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": TEXT})
NESTED_ROW = st.fixed_dictionaries(
    {
        "id": st.integers(-(2**53), 2**53),
        "messages": st.lists(TURN, min_size=1, max_size=3),
        "score": st.floats(allow_nan=False, allow_infinity=False),
        "tags": st.lists(TEXT, min_size=1, max_size=2),
        "about": st.fixed_dictionaries({"ok": st.booleans(), "text": TEXT}),
    }
)


@pytest.mark.parametrize("form", NESTED)
@examples(0.2)
@given(st.lists(NESTED_ROW, min_size=2, max_size=5))
def test_the_same_records_are_read_from_every_container(
    tmp_path_factory: pytest.TempPathFactory, form: str, rows: Rows
) -> None:
    assert read(NESTED[form](rows), tmp_path_factory.getbasetemp()) == rows


@pytest.mark.parametrize("form", FLAT)
@examples(0.3)
@given(st.lists(FLAT_ROW, min_size=1, max_size=5))
def test_the_same_texts_are_read_from_every_table(
    tmp_path_factory: pytest.TempPathFactory, form: str, rows: Rows
) -> None:
    assert read(FLAT[form](rows), tmp_path_factory.getbasetemp()) == rows


ROWS = [{"instruction": f"a{i * i}", "output": "b" * (i % 7)} for i in range(2_000)]


@pytest.mark.parametrize("form", ["gzip", "zstd", "bz2", "xz", "zip", "parquet", "arrow file"])
def test_a_container_that_is_cut_off_is_one_sentence(tmp_path: Path, form: str) -> None:
    data = NESTED[form](ROWS)
    for cut in (12, len(data) // 2, len(data) - 1):
        with pytest.raises(UserError, match=r"rows(/any name)?: .*(damaged or cut off)") as caught:
            read(data[:cut], tmp_path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "form", ["zstd", "bz2", "xz", "zip", "parquet", "arrow file", "arrow stream"]
)
def test_damage_anywhere_is_one_sentence_or_other_rows_and_never_a_crash(
    tmp_path: Path, form: str
) -> None:
    data = NESTED[form](ROWS[:300])
    for place in range(8, len(data), max(len(data) // 150, 1)):
        bad = bytearray(data)
        bad[place] ^= 0xFF
        (tmp_path / "rows").write_bytes(bytes(bad))
        try:
            list(read_records(PoolFile(str(tmp_path / "rows"), "f")))
        except UserError as error:
            assert "rows" in str(error)


@pytest.mark.parametrize("form", ["gzip", "zstd", "bz2", "xz"])
def test_rubbish_behind_packed_data_is_not_passed_over(tmp_path: Path, form: str) -> None:
    with pytest.raises(UserError, match="data is damaged or cut off"):
        read(NESTED[form](ROWS) + b"rubbish behind the data", tmp_path)


def test_packed_data_that_needs_too_much_memory_is_told(tmp_path: Path) -> None:
    greedy = [{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 2**28}]
    with pytest.raises(UserError, match="xz data needs too much memory; unpack it first"):
        read(lzma.compress(lines(ROWS), filters=greedy), tmp_path)
