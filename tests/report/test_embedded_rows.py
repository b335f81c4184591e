"""Rows that the page holds as data: which they are, how they are written, what a sample is."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from curate.report import embedded_rows
from curate.report.embedded_rows import EmbeddedRows, FateCount, RowLimits, gather_embedded_rows
from curate.runs.folder import open_run

MakeRun = Callable[..., Path]


def columns_of(rows: EmbeddedRows) -> dict[str, list[Any]]:
    """Return the values of each column, of labels what they stand for."""
    columns = {}
    for column in json.loads(rows.data)["columns"]:
        labels = column.get("labels")
        values = column["values"]
        columns[column["key"]] = [v if v is None or not labels else labels[v] for v in values]
    return columns


def test_every_dropped_and_selected_row_is_there_with_what_the_ledger_says(
    make_run: MakeRun,
) -> None:
    run = make_run(rows=60, selected=10, duplicates=6, leaks=2)
    rows = gather_embedded_rows(open_run(run))
    ledger = pl.read_parquet(run / "ledger.parquet")
    columns = columns_of(rows)
    for name in ("row_id", "source", "origin", "fate", "stage", "reason", "rank", "duplicate_of"):
        assert columns[name] == ledger[name].to_list()
    scores = zip(columns["score"], ledger["score"], strict=True)
    assert all(one == other or one == pytest.approx(other, rel=1e-3) for one, other in scores)
    assert columns["prompt"][5] == "Question number 5?"
    assert rows.counts == (
        FateCount("dropped", 8, 8),
        FateCount("selected", 10, 10),
        FateCount("not_selected", 42, 42),
    )
    assert rows.whole and rows.origins


def test_of_the_other_rows_the_next_in_rank_are_there(make_run: MakeRun) -> None:
    run = open_run(make_run(rows=60, selected=10))
    rows = gather_embedded_rows(run, RowLimits(following=3))
    columns = columns_of(rows)
    ranks = [
        rank for rank, fate in zip(columns["rank"], columns["fate"], strict=True)
        if fate == "not_selected"
    ]  # fmt: skip
    assert sorted(ranks) == [11, 12, 13]
    assert rows.whole


def test_a_sample_has_all_rows_of_a_rare_reason_and_is_drawn_by_seed(make_run: MakeRun) -> None:
    run = open_run(
        make_run(rows=400, selected=150, duplicates=200, leaks=2, source=lambda i: "one")
    )
    rows = gather_embedded_rows(run, RowLimits(most_bytes=20_000))
    assert len(rows.data) <= 20_000 and not rows.whole
    reasons = Counter(columns_of(rows)["reason"])
    assert reasons["leak_ngram"] == 2
    assert abs(reasons["exact_duplicate"] - reasons["within_budget"]) <= 1
    assert reasons["beyond_budget"] == 48 < reasons["within_budget"] < 150
    assert gather_embedded_rows(run, RowLimits(most_bytes=20_000)) == rows
    held = {one.fate: one.held for one in rows.counts}
    assert sum(held.values()) == sum(reasons.values())
    assert {one.fate: one.rows for one in rows.counts} == {
        "dropped": 202, "selected": 150, "not_selected": 48,
    }  # fmt: skip


def test_texts_cannot_end_their_element_and_hidden_characters_are_written_out(
    make_run: MakeRun,
) -> None:
    taint = "</script><!--\u202e\u2028\x00"
    rows = gather_embedded_rows(open_run(make_run(taint=taint)))
    assert "<" not in rows.data and "\u2028" not in rows.data
    columns = columns_of(rows)
    assert all("</script><!--\\u202e" in origin for origin in columns["origin"])
    assert not any("\u202e" in text for text in columns["prompt"])


def test_texts_are_cut_to_a_line(make_run: MakeRun) -> None:
    rows = gather_embedded_rows(open_run(make_run(text=lambda i: "one\n\n two " * 100)))
    text = columns_of(rows)["prompt"][5]
    assert text.startswith("one two one two") and text.endswith("…") and len(text) == 161


def test_a_column_of_very_many_labels_is_one_of_texts(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded_rows, "MOST_LABELS", 4)
    rows = gather_embedded_rows(open_run(make_run()))
    kinds = {one["key"]: one["kind"] for one in json.loads(rows.data)["columns"]}
    assert kinds["origin"] == "id" and kinds["source"] == "label"
    assert not rows.origins


def test_rows_whose_texts_the_store_has_lost_keep_their_lines(make_run: MakeRun) -> None:
    path = make_run()
    run = open_run(path)
    pool = Path(run.manifest["store"]) / run.manifest["artifacts"]["pool"]
    (pool / "rows.parquet").unlink()
    columns = columns_of(gather_embedded_rows(run))
    by_fate = zip(columns["fate"], columns["prompt"], strict=True)
    assert {fate for fate, prompt in by_fate if prompt is not None} == {"selected"}
