"""The rows of a filter as a file: all of them, in order, and no formula in it."""

from __future__ import annotations

import csv
import io
import json

import polars as pl
import pytest
from starlette.testclient import TestClient

from curate.view.context import ViewContext
from curate.view.rowdownload import without_formulas

QUERY = "?fate=dropped&column=fuzzy.score&low=0&sort=-fuzzy.score"


def test_both_kinds_hold_the_rows_of_the_table(
    view_client: TestClient, view_context: ViewContext
) -> None:
    lines = [json.loads(line) for line in view_client.get(f"/rows.jsonl{QUERY}").text.splitlines()]
    answer = view_client.get(f"/rows.csv{QUERY}")
    assert answer.headers["content-disposition"] == 'attachment; filename="real-rows.csv"'
    table = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["row_id"] for line in lines] == [line["row_id"] for line in table]
    scores = [line["fuzzy.score"] for line in lines]
    assert scores == sorted(scores, reverse=True)
    assert (
        len(lines)
        == view_context.rows.frame(["fate", "fuzzy.score"])
        .filter(pl.col("fate") == "dropped", pl.col("fuzzy.score") >= 0)
        .height
    )
    assert lines[0]["response"].startswith("Answer")
    assert table[0]["response"] == lines[0]["response"]


def test_no_rows_are_a_head_alone(view_client: TestClient) -> None:
    assert view_client.get("/rows.csv?source=nowhere").text.count("\n") == 1
    assert view_client.get("/rows.jsonl?source=nowhere").text == ""


def test_a_condition_at_fault_is_a_sentence(view_client: TestClient) -> None:
    page = view_client.get("/rows.csv?where=a")
    assert page.status_code == 400
    assert "cannot be found" in page.text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "\r\n=1", "＝1"])
def test_what_a_spreadsheet_would_compute_is_a_text(text: str) -> None:
    frame = pl.DataFrame({"a": [text, "1=1", None, ""], "b": [-1.5, 1.0, None, 0.0]})
    assert without_formulas(frame).rows() == [
        ("'" + text, -1.5),
        ("1=1", 1.0),
        (None, None),
        ("", 0.0),
    ]
