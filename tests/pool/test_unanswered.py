"""Rows of a pool without a response: read by themselves, from the files that the pool is read from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import StoreRunner, Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.pool.entries import Leaves
from curate.pool.rowset import row_set
from curate.pool.settings import FieldMap, RowFile
from tests.conftest import examples, turns

NAMED = FieldMap(prompt="ask", response="say")
ASKED = [
    {"prompt": "one", "completion": None},
    {"prompt": "one", "completion": " "},
    {"prompt": "one"},
    {"question": "one", "answers": []},
    {"instruction": "one", "input": "", "output": ""},
    {"messages": turns("one")},
    {"messages": turns("one", " ")},
    {"conversations": [{"from": "human", "value": "one"}]},
]


def read(
    folder: Path, records: Sequence[Any], leaves: Leaves | None, fields: FieldMap | None = None
) -> Table:
    path = folder / "rows.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    entry = RowFile(path=str(path), source="mixed", fields=fields)
    left = {"mixed": leaves} if leaves else {}
    rows = row_set("pool", [entry], seed=0, max_rejected=1.0, leaves=left)
    return rows.read(StoreRunner(Store(folder / "store")))


def rejects(table: Table) -> list[str]:
    return pl.read_parquet(table.artifact.file("rejects.parquet"))["reason"].to_list()


@pytest.mark.parametrize("record", ASKED)
def test_a_row_that_lacks_its_response_alone_is_a_prompt(
    record: dict[str, Any], tmp_path: Path
) -> None:
    usual = {"prompt": "two", "completion": "three"}
    records = [usual, record]
    prompts = read(tmp_path, records, "answered").read()
    assert prompts["row_id"].to_list() == ["mixed/rows.jsonl:2"]
    assert [(m["role"], m["content"]) for m in prompts["messages"][0]] == [("user", "one")]
    pool = read(tmp_path, records, "unanswered")
    assert pool.read()["row_id"].to_list() == ["mixed/rows.jsonl:1"]
    assert not rejects(pool)
    assert len(rejects(read(tmp_path, records, None))) == 1


@pytest.mark.parametrize(
    "record", [{"ask": "one"}, {"ask": "one", "say": None}, {"ask": "one", "say": ""}]
)
def test_a_response_that_the_recipe_names_may_be_missing(
    record: dict[str, Any], tmp_path: Path
) -> None:
    records = [{"ask": "one", **record}, {"ask": "two", "say": "three"}, {"say": "four"}]
    assert read(tmp_path, records, "answered", NAMED).height == 1
    pool = read(tmp_path, records, "unanswered", NAMED)
    assert (pool.height, rejects(pool)) == (1, ["missing_field"])


RECORDS = st.fixed_dictionaries(
    {"prompt": st.sampled_from(["", "one", "two"])},
    optional={"completion": st.sampled_from([None, "", " ", "three", 4, {"five": 6}])},
)


@examples(0.4)
@given(st.lists(RECORDS, min_size=1, max_size=12))
def test_every_record_is_a_row_a_prompt_or_a_reject_and_one_of_them(records: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        records = [{"prompt": "usual", "completion": "reply"}, {"prompt": "asked"}, *records]
        pool, prompts = (read(folder, records, leaves) for leaves in reversed(get_args(Leaves)))
        plain = read(folder, records, None)
        assert pool.height + prompts.height + len(rejects(pool)) == len(records)
        assert pool.read().equals(plain.read())
        assert not rejects(prompts)
        assert pool.height + len(rejects(plain)) == len(records)
        assert pool.artifact.counts["rows_in"] == pool.height + len(rejects(pool))


def test_rejected_rows_of_a_pool_are_told_how_they_can_be_answered(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "curate")
    records = [{"prompt": "two", "completion": "three"}, {"prompt": "one", "completion": ""}]
    read(tmp_path, records, None)
    advice = "`ingest: {prompts: true}` with `generate: {methods: [{method: answer}]}`"
    assert "records without a response, rejected: 1. Rows that lack their response" in caplog.text
    assert advice in caplog.text
    entry = RowFile(path=str(tmp_path / "rows.jsonl"))
    pool, target = (row_set(n, [entry], seed=0, max_rejected=0.0) for n in ("pool", "target"))
    run = StoreRunner(Store(tmp_path / "store"))
    with pytest.raises(UserError) as caught:
        pool.read(run)
    assert advice in str(caught.value)
    with pytest.raises(UserError) as caught:
        target.read(run)
    assert advice not in str(caught.value)
