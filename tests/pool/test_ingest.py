"""Ingest: every record becomes a row or a reject with a reason, and the same bytes twice."""

from __future__ import annotations

import gzip
import itertools
import json
import random
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import StoreRunner, Table
from curate.core.errors import UserError
from curate.core.reasons import Reason
from curate.core.rows import SCHEMA, content_hash, text_hash
from curate.core.store import Artifact, Store
from curate.core.turntext import conversations, plain_messages
from curate.pool.layouts import file_reader
from curate.pool.recordrows import RAW_CHARS
from curate.pool.rowset import row_set
from curate.pool.settings import RowFile
from tests.conftest import examples, turns

GOOD = {"instruction": "a", "output": "b"}
COUNTER = itertools.count()


def line(value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def put(folder: Path, **files: bytes) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / f"{name}.jsonl").write_bytes(data)
    return folder


def ingest(
    store: Store, *entries: RowFile | Path, seed: int = 0, max_rejected: float = 1.0
) -> Artifact:
    files = [e if isinstance(e, RowFile) else RowFile(path=str(e), source="s") for e in entries]
    read = row_set("pool", files, seed=seed, max_rejected=max_rejected)
    return read.read(StoreRunner(store)).artifact


def rows(artifact: Artifact) -> pl.DataFrame:
    return Table(artifact, "rows").read()


def rejects(artifact: Artifact) -> pl.DataFrame:
    return pl.read_parquet(artifact.file("rejects.parquet"))


def ids(artifact: Artifact) -> list[str]:
    return rows(artifact)["row_id"].to_list()


def test_a_record_becomes_a_whole_row(store: Store, tmp_path: Path) -> None:
    record = GOOD | {"task": "sums", "id": 3}
    ingested = ingest(store, put(tmp_path / "pool", **{"x": line(record)}))
    [read_row] = rows(ingested).to_dicts()
    assert [read_row | {"messages": plain_messages(read_row["messages"])}] == [
        {
            "row_id": "s/x.jsonl:1",
            "messages": turns("a", "b"),
            "tools": None,
            "rejected": None,
            "content_hash": content_hash(turns("a", "b")),
            "text_hash": text_hash(turns("a", "b")),
            "source": "s",
            "origin": "sums",
            "meta": '{"id":3}',
            "parents": [],
            "method": None,
            "hop": None,
        }
    ]
    assert pq.read_schema(ingested.file("rows.parquet")).equals(SCHEMA)
    assert ingested.counts == {"rows_in": 1, "rows_out": 1, "rejected": {}}


def test_without_an_upstream_name_the_origin_is_the_file(store: Store, tmp_path: Path) -> None:
    ingested = ingest(store, put(tmp_path / "pool", **{"alpaca.v2": line(GOOD)}))
    assert rows(ingested)["origin"].to_list() == ["alpaca"]


def test_row_ids_are_source_file_and_1_based_position(store: Store, tmp_path: Path) -> None:
    one = put(tmp_path / "one", a=line(GOOD) + b"\n" + line(GOOD), b=line(GOOD))
    (one / "c.json").write_text(json.dumps([GOOD, 7, GOOD]))
    two = put(tmp_path / "two", a=line(GOOD))
    ingested = ingest(store, one, RowFile(path=str(two), source="t"))
    expected = ["s/a.jsonl:1", "s/a.jsonl:3", "s/b.jsonl:1", "s/c.json:1", "s/c.json:3"]
    assert ids(ingested) == [*expected, "t/a.jsonl:1"]


def test_two_entries_with_one_source_name_are_a_user_error(store: Store, tmp_path: Path) -> None:
    pool = put(tmp_path / "pool", a=line(GOOD))
    with pytest.raises(UserError, match="pool: 2 entries have the source name 's'"):
        ingest(store, pool, pool)


# --- bad records --------------------------------------------------------------------------------

BAD: list[tuple[bytes, Reason, str]] = [
    (b'{"instruction": "a", "output": ', Reason.BAD_JSON, "column 32: unexpected end of data"),
    (b"{'instruction': 'a'}", Reason.BAD_JSON, "column 2"),
    (b'{"instruction": "a", "output": "b"} x', Reason.BAD_JSON, "column 37"),
    (
        b'{"instruction": NaN, "output": "b"}',
        Reason.MISSING_FIELD,
        "instruction: NaN and Infinity are read as null",
    ),
    (
        b'{"instruction": "a", "n": Infinity, "output": -Infinity}',
        Reason.MISSING_FIELD,
        "output: NaN and Infinity are read as null",
    ),
    (b'{"instruction": NaN, "output": "b"', Reason.BAD_JSON, "column"),
    (b'{"instruction": "\\ud83d", "output": "b"}', Reason.BAD_JSON, "column"),
    (b'{"instruction": "a\tb", "output": "b"}', Reason.BAD_JSON, "column 19"),
    (b"[" * 5_000 + b"]" * 5_000, Reason.BAD_JSON, "column"),
    (b'{"instruction": "caf\xe9", "output": "b"}', Reason.BAD_UTF8, "byte 20"),
    (b'{"instruction": "\xed\xa0\x80", "output": "b"}', Reason.BAD_UTF8, "byte 17"),
    (b'{"instruction": "\xc0\xaf", "output": "b"}', Reason.BAD_UTF8, "byte 17"),
    (b"7", Reason.NOT_OBJECT, "int"),
    (b"null", Reason.NOT_OBJECT, "NoneType"),
    (b'["a"]', Reason.NOT_OBJECT, "list"),
    (b"{}", Reason.MISSING_FIELD, "instruction"),
    (b'{"instruction": "a"}', Reason.MISSING_FIELD, "output"),
    (b'{"instruction": ["a"], "output": "b"}', Reason.WRONG_TYPE, "instruction"),
    (b'{"instruction": " ", "output": "b"}', Reason.EMPTY_PROMPT, "messages[0].content"),
    (b'{"instruction": "a", "output": "\\n"}', Reason.EMPTY_RESPONSE, "messages[1].content"),
]


@pytest.mark.parametrize(("raw", "reason", "field"), BAD, ids=range(len(BAD)))
def test_each_bad_line_is_one_reject_with_line_reason_and_field(
    store: Store, tmp_path: Path, raw: bytes, reason: Reason, field: str
) -> None:
    ingested = ingest(store, put(tmp_path / "pool", x=line(GOOD) * 2 + raw + b"\n" + line(GOOD)))
    [reject] = rejects(ingested).to_dicts()
    assert (reject["source"], reject["file"], reject["position"]) == ("s", "x.jsonl", 3)
    assert reject["reason"] == reason
    assert reject["field"].startswith(field)
    assert reject["raw"] == raw.decode(errors="replace")[:RAW_CHARS]
    assert ids(ingested) == ["s/x.jsonl:1", "s/x.jsonl:2", "s/x.jsonl:4"]
    assert ingested.counts == {"rows_in": 4, "rows_out": 3, "rejected": {reason.value: 1}}


@examples(0.8)
@given(
    st.lists(st.sampled_from([line(GOOD), b"\n", *(raw + b"\n" for raw, *_ in BAD)]), max_size=40),
    st.booleans(),
)
def test_every_record_is_a_row_or_a_reject_and_none_is_both(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes], packed: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"mix-{next(COUNTER)}"
    data = line(GOOD) + b"".join(lines)
    put(folder / "pool", x=gzip.compress(data) if packed else data)
    ingested = ingest(Store(folder / "store"), folder / "pool")
    kept = {int(row_id.rpartition(":")[2]) for row_id in ids(ingested)}
    refused = set(rejects(ingested)["position"])
    records = {i for i, text in enumerate(data.split(b"\n"), start=1) if text.strip()}
    assert kept | refused == records
    assert not kept & refused
    assert ingested.counts["rows_in"] == len(records)
    assert ingested.counts["rows_out"] == len(kept)
    assert sum(ingested.counts["rejected"].values()) == rejects(ingested).height == len(refused)
    assert kept == {
        i for i, text in enumerate(data.split(b"\n"), start=1) if text == line(GOOD).strip()
    }


def test_too_many_rejects_stop_the_run_and_name_file_and_line(store: Store, tmp_path: Path) -> None:
    pool = put(tmp_path / "pool", x=line(GOOD) * 8 + b"{bad\n" + line({"instruction": "a"}))
    with pytest.raises(UserError) as caught:
        ingest(store, pool, max_rejected=0.19)
    lines = str(caught.value).splitlines()
    assert lines[0].startswith("2 of 10 records make no row; at most 19% may (ingest.max_rejected")
    assert "  1 x bad_json: the record is not valid JSON" in lines
    assert any(line.startswith("  x.jsonl:9: bad_json (column 2: ") for line in lines)
    assert "  x.jsonl:10: missing_field (output)" in lines
    assert ingest(store, pool, max_rejected=0.2).counts["rows_out"] == 8


def test_a_pool_without_any_row_stops_the_run(store: Store, tmp_path: Path) -> None:
    pool = put(tmp_path / "pool", x=line({"instruction": " ", "output": "b"}))
    with pytest.raises(UserError, match="1 of 1 records make no row"):
        ingest(store, pool, max_rejected=1.0)


def test_an_unknown_format_names_file_and_fields(store: Store, tmp_path: Path) -> None:
    pool = put(tmp_path / "pool", a=line(GOOD), x=line({"query": "a", "reply": "b"}))
    with pytest.raises(UserError, match=r"x.jsonl: no known layout .*fields seen: query, reply"):
        ingest(store, pool)


def test_prompts_without_an_answer_are_rows_for_the_leak_check_alone(
    store: Store, tmp_path: Path
) -> None:
    prompts = [{"prompt": "a"}, {"turns": ["a", "b"]}, {"messages": turns("a", "b")[:1]}, GOOD]
    pool = put(tmp_path / "pool", x=b"".join(line(prompt) for prompt in prompts))
    entry = RowFile(path=str(pool), source="s")
    read = row_set("protected", [entry], seed=0, max_rejected=0.0, prompts=True)
    user = {"role": "user", "content": "a"}
    assert conversations(rows(read.read(StoreRunner(store)).artifact)) == [
        [user],
        [user, {"role": "user", "content": "b"}],
        [user],
        turns("a", "b"),
    ]
    assert ingest(store, pool).counts["rejected"] == {
        "last_turn_not_assistant": 1,
        "missing_field": 2,
    }


@pytest.mark.parametrize("depth", [200, 300, 1000])
def test_deeply_nested_fields_are_kept_or_rejected_never_a_crash(
    store: Store, tmp_path: Path, depth: int
) -> None:
    deep = b'{"instruction": "a", "output": "b", "x": ' + b"[" * depth + b"]" * depth + b"}"
    ingested = ingest(store, put(tmp_path / "pool", x=line(GOOD) + deep + b"\n"))
    assert ingested.counts["rows_in"] == 2
    assert rows(ingested).height + rejects(ingested).height == 2


def test_deeply_nested_elements_of_an_array_never_crash(store: Store, tmp_path: Path) -> None:
    deep = '{"instruction": "a", "output": "b", "x": ' + "[" * 300 + "]" * 300 + "}"
    ingested = ingest(store, put(tmp_path / "pool", x=f"[{json.dumps(GOOD)}, {deep}]".encode()))
    assert ingested.counts["rows_in"] == 2


def test_a_line_of_a_megabyte_is_a_row(store: Store, tmp_path: Path) -> None:
    text = "word " * 200_000 + "end"
    ingested = ingest(store, put(tmp_path / "pool", x=line({"instruction": text, "output": "b"})))
    assert rows(ingested)["messages"][0][0]["content"] == text


def test_text_survives_as_it_is(store: Store, tmp_path: Path) -> None:
    text = "NFD e\u0301, null \x00, emoji 😀, rtl \u202e, <script>, \r\n\ttab, \u2028 sep"
    ingested = ingest(store, put(tmp_path / "pool", x=line({"instruction": text, "output": text})))
    assert conversations(rows(ingested)) == [turns(text, text)]


# --- fields, strip_end --------------------------------------------------------------------------


def test_fields_in_the_config_read_a_foreign_format(store: Store, tmp_path: Path) -> None:
    record = {"query": "a", "reply": "b", "about": "c", "kind": "k", "instruction": "no"}
    pool = put(tmp_path / "pool", x=line(record))
    names = {"prompt": "query", "response": "reply", "context": "about", "origin": "kind"}
    entry = RowFile.model_validate({"path": str(pool), "source": "s", "fields": names})
    [row] = rows(ingest(store, entry)).to_dicts()
    assert plain_messages(row["messages"]) == turns("a\n\nc", "b")
    assert row["origin"] == "k"
    assert json.loads(row["meta"]) == {"instruction": "no"}


def test_fields_must_name_a_prompt_and_a_response() -> None:
    with pytest.raises(ValueError, match="name `messages`, or both `prompt` and `response`"):
        RowFile.model_validate({"path": "x", "fields": {"response": "q"}})


def test_strip_end_cuts_the_marker_off_the_end_only(store: Store, tmp_path: Path) -> None:
    pool = put(
        tmp_path / "pool",
        x=line({"prompt": "a</s>", "completion": "b</s> c</s>"})
        + line({"prompt": "a", "completion": "b"})
        + line({"prompt": "a", "completion": "</s>"}),
    )
    ingested = ingest(store, RowFile(path=str(pool), source="s", strip_end="</s>"))
    assert conversations(rows(ingested)) == [turns("a</s>", "b</s> c"), turns("a", "b")]
    assert rejects(ingested)["reason"].to_list() == [Reason.EMPTY_RESPONSE]


# --- meta ---------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=4), inner)
    ),
    max_leaves=8,
)
TURN_FIELDS = {"instruction", "output", "input", "system"}
ORIGIN_NAMES = {"origin", "task", "task_name", "template", "source", "dataset", "category"}


@examples(0.8)
@given(st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), min_size=1, max_size=5))
def test_meta_round_trips_every_field_that_has_no_column(
    tmp_path_factory: pytest.TempPathFactory, extras: list[dict[str, Any]]
) -> None:
    extras = [
        {k: v for k, v in extra.items() if k not in TURN_FIELDS | ORIGIN_NAMES and k.isprintable()}
        for extra in extras
    ]
    folder = tmp_path_factory.getbasetemp() / f"meta-{next(COUNTER)}"
    put(folder / "pool", x=b"".join(line(GOOD | extra) for extra in extras))
    ingested = ingest(Store(folder / "store"), folder / "pool")
    assert [json.loads(meta) for meta in rows(ingested)["meta"]] == extras


def test_meta_keeps_integers_of_any_size_exact(store: Store, tmp_path: Path) -> None:
    """An upstream id beyond 64 bits must not be rounded to a float."""
    record = GOOD | {"id": 2**64 + 1, "hash": 2**127 - 1}
    pool = put(tmp_path / "pool", x=line(GOOD) + line(record))
    ingested = ingest(store, pool)
    kept = {row["row_id"]: json.loads(row["meta"]) for row in rows(ingested).to_dicts()}
    assert rows(ingested).height + rejects(ingested).height == 2
    assert kept.get("s/x.jsonl:2", {"id": 2**64 + 1, "hash": 2**127 - 1}) == {
        "id": 2**64 + 1,
        "hash": 2**127 - 1,
    }


def test_meta_keeps_what_turns_hold_beside_role_and_content(store: Store, tmp_path: Path) -> None:
    """The row's contract: every upstream field that has no column of its own, untouched."""
    messages = [
        {"role": "user", "content": "a", "posted": "in May"},
        {"role": "assistant", "content": "b", "seen": 1},
    ]
    ingested = ingest(store, put(tmp_path / "pool", x=line({"messages": messages})))
    meta = rows(ingested)["meta"][0]
    assert "in May" in meta
    assert "seen" in meta


# --- sampling -----------------------------------------------------------------------------------


@pytest.fixture
def many(tmp_path: Path) -> Path:
    """Two files of 60 records, one in eight of them bad."""

    def text(n: int) -> bytes:
        return b"{bad\n" if n % 8 == 7 else line(GOOD | {"n": n})

    blocks = {name: b"".join(text(n) for n in range(60)) for name in ("a", "b")}
    return put(tmp_path / "many", **blocks)


def sampled(store: Store, pool: Path, size: int, seed: int = 0) -> Artifact:
    return ingest(store, RowFile(path=str(pool), source="s", sample=size), seed=seed)


def chosen(artifact: Artifact) -> set[tuple[str, int]]:
    good = {(i.split("/")[1].split(":")[0], int(i.rpartition(":")[2])) for i in ids(artifact)}
    return good | set(rejects(artifact).select("file", "position").iter_rows())


def test_a_sample_is_that_many_records_of_the_pool(store: Store, many: Path) -> None:
    whole = chosen(ingest(store, many))
    assert len(whole) == 120
    for size in (1, 40, 119, 120, 500):
        part = sampled(store, many, size)
        assert part.counts["rows_in"] == len(chosen(part)) == min(size, 120)
        assert chosen(part) <= whole


def test_a_sample_is_seeded_and_a_smaller_one_is_part_of_a_larger(
    store: Store, many: Path, tmp_path: Path
) -> None:
    again = sampled(Store(tmp_path / "other"), many, 40)
    assert chosen(sampled(store, many, 40)) == chosen(again)
    assert chosen(sampled(store, many, 40)) < chosen(sampled(store, many, 60))
    draws = {frozenset(chosen(sampled(store, many, 40, seed))) for seed in range(5)}
    assert len(draws) == 5


def test_a_sample_keeps_pool_order(store: Store, many: Path) -> None:
    whole, part = ids(ingest(store, many)), ids(sampled(store, many, 50))
    assert part == [i for i in whole if i in set(part)]


def test_whether_a_record_is_drawn_does_not_depend_on_its_neighbours(
    store: Store, many: Path, tmp_path: Path
) -> None:
    """A file more in the pool can push records out of the sample, never exchange those that stay."""
    before = chosen(sampled(store, many, 40))
    put(many, **{"0": line(GOOD) * 30})
    after = chosen(sampled(store, many, 40))
    assert after & chosen(ingest(store, many)) == after
    assert {c for c in after if c[0] != "0.jsonl"} <= before
    assert 0 < len({c for c in after if c[0] == "0.jsonl"}) < 30


def test_a_sample_is_uniform_over_records(tmp_path: Path) -> None:
    """Of 8 records 4 are drawn under 60 seeds: each about 30 times (chi-square, 7 degrees)."""
    pool = put(tmp_path / "pool", x=line(GOOD) * 8)
    store, drawn = Store(tmp_path / "store"), [0] * 8
    for seed in range(60):
        for _, position in chosen(sampled(store, pool, 4, seed)):
            drawn[position - 1] += 1
    assert sum(drawn) == 240
    assert sum((n - 30) ** 2 / 30 for n in drawn) < 24.3  # 0.1 %


# --- identity -----------------------------------------------------------------------------------


def key(pool: Path, **entry: Any) -> list[str]:
    file = RowFile.model_validate({"path": str(pool), "source": "s", **entry})
    return [call.key for call in row_set("pool", [file], seed=0, max_rejected=0.5).calls]


def test_the_key_follows_content_names_and_settings_not_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool = put(tmp_path / "pool", a=line(GOOD), b=line(GOOD))
    before = key(pool)
    assert key(pool / "*.jsonl") == before
    moved = pool.rename(tmp_path / "moved")
    assert key(moved) == before
    monkeypatch.chdir(tmp_path)
    assert key(Path("moved")) == before
    for change in (
        {"source": "t"},
        {"sample": 2},
        {"strip_end": "x"},
        {"fields": {"messages": "m"}},
    ):
        assert key(moved, **change) != before
    (moved / "b.jsonl").rename(moved / "c.jsonl")
    assert key(moved) != before
    (moved / "c.jsonl").rename(moved / "b.jsonl")
    (moved / "a.jsonl").write_bytes(line(GOOD | {"output": "c"}))
    assert key(moved) != before


def test_the_same_pool_gives_the_same_bytes_in_another_place_and_store(
    tmp_path: Path, many: Path
) -> None:
    first = ingest(Store(tmp_path / "one"), many)
    moved = many.rename(tmp_path / "moved")
    second = ingest(Store(tmp_path / "two"), moved)
    assert first.path != second.path
    assert (first.key, first.digest) == (second.key, second.digest)
    for name in first.files:
        assert first.file(name).read_bytes() == second.file(name).read_bytes()


def test_rows_do_not_depend_on_how_they_are_batched(
    tmp_path: Path, many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = ingest(Store(tmp_path / "one"), many)
    monkeypatch.setattr("curate.pool.parts.PART_ROWS", 7)
    parts = ingest(Store(tmp_path / "two"), many)
    assert rows(parts).equals(rows(whole))
    assert rejects(parts).equals(rejects(whole))
    assert parts.counts == whole.counts


def test_every_record_is_read_by_its_own_layout(store: Store, tmp_path: Path) -> None:
    """Whatever the records before it are in."""
    rng = random.Random(0)
    other = line({"question": "a", "answer": "b"})
    blocks = [line(GOOD)] * 100 + rng.sample([line(GOOD)] * 5 + [other] * 3, 8)
    ingested = ingest(store, put(tmp_path / "pool", x=b"".join(blocks)))
    assert ingested.counts == {"rows_in": 108, "rows_out": 108, "rejected": {}}


# --- odd files and limits -----------------------------------------------------------------------

EMPTY = {
    "none": b"",
    "blank": b"\n \t\r\n",
    "mark": b"\xef\xbb\xbf",
    "list": b"[ ]",
    "gzip": b"\x1f",
}


@pytest.mark.parametrize("kind", EMPTY)
def test_a_file_without_any_record_contributes_nothing_and_is_counted(
    store: Store, tmp_path: Path, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    data = gzip.compress(b"") if kind == "gzip" else EMPTY[kind]
    pool = put(tmp_path / "pool", a=data, x=line(GOOD))
    ingested = ingest(store, pool, max_rejected=0.0)
    assert ingested.counts == {"rows_in": 1, "rows_out": 1, "rejected": {}, "empty_files": 1}
    assert "files without any record: 1 (a.jsonl)" in caplog.text
    (pool / "x.jsonl").unlink()
    with pytest.raises(UserError, match=r"no record at all in .*a.jsonl; every file is empty or"):
        ingest(store, pool)


@pytest.mark.parametrize("form", ["lines", "array"])
def test_a_record_that_is_too_long_is_a_reject_and_costs_no_other_file(
    store: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    form: str,
) -> None:
    monkeypatch.setattr("curate.pool.records.LONGEST", 500)
    bomb = line({"instruction": "x" * 100_000, "output": "b"})
    data = bomb if form == "lines" else b"[" + bomb + b"]"
    ingested = ingest(store, put(tmp_path / "pool", a=data, x=line(GOOD)))
    assert ingested.counts["rejected"] == {"record_too_long": 1}
    assert "bytes, rejected: 1" in caplog.text
    [reject] = rejects(ingested).to_dicts()
    assert (reject["file"], reject["position"]) == ("a.jsonl", 1)
    assert reject["raw"] == bomb[: len(reject["raw"])].decode()
    assert 500 <= len(reject["raw"]) <= RAW_CHARS
    assert ids(ingested) == ["s/x.jsonl:1"]


@pytest.mark.parametrize(
    ("field", "reason", "place"),
    [
        (b"[" * 1_015 + b"1" * 30 + b"]" * 1_015, Reason.UNSUPPORTED_CONTENT, "nested too deeply"),
        (b"1" * 5_000, Reason.BAD_JSON, "column"),
        (b"[" * 5_000 + b"1" * 30 + b"]" * 5_000, Reason.BAD_JSON, "column"),
        (b"-" + b"1" * 30, None, ""),
        (b"1e999", Reason.BAD_JSON, "column"),
        (b'"\\ud800"', Reason.BAD_JSON, "column"),
        (b"NaN", None, ""),
        (b'{"a": 1, "a": 2}', None, ""),
    ],
    ids=range(8),
)
@pytest.mark.parametrize("form", ["lines", "array"])
def test_what_a_parser_cannot_hold_is_a_reject(
    store: Store, tmp_path: Path, field: bytes, reason: Reason | None, place: str, form: str
) -> None:
    odd = b'{"instruction": "a", "output": "b", "x": ' + field + b"}"
    good = line(GOOD).strip()
    data = good + b"\n" + odd if form == "lines" else b"[" + good + b", " + odd + b"]"
    pool = put(tmp_path / "pool", x=data)
    ingested = ingest(store, pool)
    assert ingested.counts["rejected"] == ({reason.value: 1} if reason else {})
    if reason:
        assert rejects(ingested)["field"][0].startswith(place)


def test_parts_are_bounded_by_bytes_and_not_only_by_rows(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pool.containers.lines.BLOCK_BYTES", 10_000)
    monkeypatch.setattr("curate.core.tables.GROUP_BYTES", 1)
    long = line({"instruction": "x" * 3_000, "output": "b"})
    ingested = ingest(store, put(tmp_path / "pool", x=long * 20 + b"{bad\n"))
    groups = pq.ParquetFile(ingested.file("rows.parquet")).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [4] * 5
    assert ingested.counts["rows_in"] == 21


def test_the_records_by_which_a_format_is_told_are_bounded_by_bytes(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.pool.parts.LONGEST", 100)
    looked_at: list[int] = []
    reader_of = file_reader

    def detect(values: list[Any], fields: Any, where: str, **more: Any) -> Any:
        looked_at.append(len(values))
        return reader_of(values, fields, where, **more)

    monkeypatch.setattr("curate.pool.parts.file_reader", detect)
    ingest(store, put(tmp_path / "pool", x=line(GOOD) * 50))
    assert looked_at == [3]


@pytest.mark.parametrize("sample", [None, 2])
def test_a_file_that_changes_after_its_digest_leaves_no_artifact(
    store: Store, tmp_path: Path, sample: int | None
) -> None:
    pool = put(tmp_path / "pool", x=line(GOOD) * 3)
    entry = RowFile(path=str(pool), source="s", sample=sample)
    [call] = row_set("pool", [entry], seed=0, max_rejected=0.0).calls
    (pool / "x.jsonl").write_bytes(line(GOOD) * 4)
    with pytest.raises(UserError, match=r"x.jsonl: the file changed while it was being read"):
        store.ensure(call)
    assert store.find(call) is None
    (pool / "x.jsonl").unlink()
    with pytest.raises(UserError, match=r"x.jsonl: cannot be read \(No such file"):
        store.ensure(call)


@given(
    st.lists(
        st.binary(max_size=6)
        | st.sampled_from(
            [b"[", b"]", b"{", b"}", b",", b"\n", b"\r", b"9" * 30, line(GOOD), line(GOOD).strip()]
        ),
        max_size=8,
    ).map(b"".join),
    st.booleans(),
)
def test_any_bytes_are_rows_and_rejects_that_add_up_or_one_sentence(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, packed: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / f"any-{next(COUNTER)}"
    put(folder / "pool", a=line(GOOD), x=gzip.compress(data) if packed else data)
    try:
        ingested = ingest(Store(folder / "store"), folder / "pool")
    except UserError as error:
        assert "x.jsonl" in str(error)
        return
    assert ingested.counts["rows_in"] == rows(ingested).height + rejects(ingested).height
    assert ingested.counts["rows_out"] == rows(ingested).height
    assert ingested.counts["rejected"] == dict(
        sorted(rejects(ingested)["reason"].value_counts().iter_rows())
    )


def test_an_example_set_without_a_record_is_named_by_its_key(tmp_path: Path, store: Store) -> None:
    (tmp_path / "some.jsonl").write_text('{"prompt": "a", "completion": "b"}\n')
    (tmp_path / "none.jsonl").write_text("\n")
    files = [RowFile(path=str(tmp_path / f"{name}.jsonl")) for name in ("some", "none")]
    keys = ["target.eval.0", "target.eval.1"]
    examples = row_set("eval", files, seed=0, max_rejected=0.0, keys=keys)
    with pytest.raises(
        UserError, match=r"^target.eval.1: there is no record at all in .*none.jsonl"
    ):
        examples.read(StoreRunner(store))
    pool = row_set("pool", files, seed=0, max_rejected=0.0, keys=["pool.0", "pool.1"])
    assert pool.read(StoreRunner(store)).height == 1


def test_a_path_that_leads_nowhere_is_named_by_its_key(tmp_path: Path) -> None:
    file = RowFile(path=str(tmp_path / "nowhere.jsonl"))
    with pytest.raises(UserError, match=r"^prove.watch.0: no file or folder is at"):
        row_set("watch", [file], seed=0, max_rejected=0.0, keys=["prove.watch.0"])
