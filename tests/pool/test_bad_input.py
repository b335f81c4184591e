"""Bad input in every container where it can occur: a reject with its place, or one sentence."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

import curate
from curate.core.errors import UserError

GOOD = [{"prompt": f"ask {i}", "completion": f"say {i}"} for i in range(3)]
LINES = "".join(json.dumps(record) + "\n" for record in GOOD)
FIELDS = {"prompt": "prompt", "response": "completion"}
HALF = '{"prompt": "a \\ud800", "completion": "b"}'
NARROW = '{"prompt": "a", "completion": "b", "m": '
DEEP = NARROW + "[" * 2_000 + "]" * 2_000 + "}"

REJECTED: list[tuple[bytes, str, str]] = [
    (HALF.encode(), "bad_json", "no low surrogate"),
    (b'{"prompt": "a \xed\xa0\x80", "completion": "b"}', "bad_utf8", "byte 14"),
    (b'{"prompt": "caf\xe9", "completion": "b"}', "bad_utf8", "byte 15"),
    (b'{"prompt": "a\x00", "completion": "b"}', "bad_json", "control character"),
    (DEEP.encode(), "bad_json", "depth"),
    ((NARROW + "1" * 5_000 + "}").encode(), "bad_json", "number"),
    (b'{"prompt": "a", "completion": NaN}', "missing_field", "NaN and Infinity are read as null"),
]


def read(path: Path, folder: Path, *, named: bool) -> curate.Rows:
    fields = FIELDS if named else None
    return curate.read(path, fields=fields, max_rejected=1, store=folder / f"store-{named}")


@pytest.mark.parametrize("named", [False, True])
@pytest.mark.parametrize("form", ["lines", "gzip", "array", "data"])
@pytest.mark.parametrize(("bad", "reason", "field"), REJECTED, ids=range(len(REJECTED)))
def test_a_bad_record_costs_itself_and_is_named(
    tmp_path: Path, bad: bytes, reason: str, field: str, form: str, named: bool
) -> None:
    lines = [*LINES.encode().splitlines(), bad]
    data = b"\n".join(lines) if form in ("lines", "gzip") else b"[" + b",".join(lines) + b"]"
    data = b'{"data": ' + data + b"}" if form == "data" else data
    (tmp_path / "x").write_bytes(gzip.compress(data) if form == "gzip" else data)
    rows = read(tmp_path / "x", tmp_path, named=named)
    [reject] = rows.rejects.to_dicts()
    assert (len(rows), reject["position"], reject["reason"]) == (3, 4, reason)
    assert field in reject["field"]


REFUSED: list[tuple[bytes, str]] = [
    (LINES.encode("utf-16-le"), "UTF-16 text without a byte order mark; convert it"),
    (LINES.encode("utf-16-be"), "UTF-16 text without a byte order mark; convert it"),
    ("prompt,completion\na,b\n".encode("utf-16-le"), "UTF-16 text without a byte order mark"),
    (LINES.replace("\n", "\r").encode(), "end in a carriage return alone"),
    (b"prompt,completion\ra,b\rc,d\r", "end in a carriage return alone"),
    (b'{"prompt": ["a"], "prompt": ["b"], "completion": ["c"]}', "'prompt' comes twice"),
    (b'{"prompt": ["a \\ud800"], "completion": ["c"]}', "no record that is valid JSON .*column"),
    (json.dumps(GOOD).encode()[:-20], "document is broken .it breaks off"),
    (json.dumps({"data": GOOD}).encode()[:-20], "unexpected end of data"),
    (b'prompt,completion\na,b\nc,"d', "quotation mark in this row of the table is never closed"),
    (gzip.compress(LINES.encode())[:-9], "damaged or cut off"),
]


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize(("data", "sentence"), REFUSED, ids=range(len(REFUSED)))
def test_a_file_that_cannot_be_read_is_one_sentence(
    tmp_path: Path, data: bytes, sentence: str, packed: bool
) -> None:
    if packed and data.startswith(b"\x1f\x8b"):
        pytest.skip("packed twice")
    (tmp_path / "x").write_bytes(gzip.compress(data) if packed else data)
    with pytest.raises(UserError, match=sentence):
        read(tmp_path / "x", tmp_path, named=False)


def test_a_shard_without_records_is_told_and_the_others_are_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    shards = {"a.jsonl": b"", "b.jsonl": LINES.encode(), "c.csv": b"prompt,completion\n"}
    for name, data in {**shards, "d.jsonl": LINES.encode() + b"\x00" * 64, "e.json": b"[]"}.items():
        (folder / name).write_bytes(data)
    rows = read(folder, tmp_path, named=False)
    assert (len(rows), rows.rejects["reason"].to_list()) == (6, ["bad_json"])
    assert "files without any record: 3 (a.jsonl, c.csv, e.json)" in caplog.text


def test_nan_in_turns_that_are_json_text_is_null(tmp_path: Path) -> None:
    turns = (
        '[{"role": "user", "content": "a", "score": NaN}, {"role": "assistant", "content": "b"}]'
    )
    (tmp_path / "x.csv").write_text(f'id,messages\n1,"{turns.replace(chr(34), chr(34) * 2)}"\n')
    [messages] = read(tmp_path / "x.csv", tmp_path, named=False).frame["messages"].to_list()
    assert [turn["content"] for turn in messages] == ["a", "b"]
