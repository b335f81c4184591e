"""The page of two runs: figures of the record that the terminal prints, and the rows of one alone."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from curate.runs.difference import compare_runs, rows_of_one
from curate.runs.folder import open_run
from curate.runs.verdict_text import ComparisonFigures, ProofFigures
from curate.view.comparepage import interval_lines


def test_one_run_alone_has_no_such_page(view_client: TestClient) -> None:
    assert view_client.get("/compare").status_code == 404
    assert "/compare" not in view_client.get("/rows").text


def test_the_page_has_the_figures_of_the_record(
    mapped_client: TestClient, mapped_run: Path, view_run: Path
) -> None:
    page = unescape(mapped_client.get("/compare").text)
    difference = compare_runs(open_run(mapped_run), open_run(view_run))
    for setting in difference.settings:
        assert f'<bdi class="name">{setting.key}</bdi>' in page
    for overlap in difference.overlaps:
        assert f'<td class="n">{overlap.both:,}</td>' in page
    assert page.count("Not proved.") == 2
    assert f"curate diff {mapped_run} {view_run}" in page


@pytest.mark.parametrize(("alone", "key"), [("A", "content_hash"), ("B", "row_id")])
def test_rows_of_one_alone_are_listed(
    mapped_client: TestClient, mapped_run: Path, view_run: Path, alone: str, key: str
) -> None:
    one, other = (open_run(path) for path in (mapped_run, view_run))
    rows = rows_of_one(one, other, key) if alone == "A" else rows_of_one(other, one, key)
    page = unescape(mapped_client.get(f"/compare?alone={alone}&key={key}").text)
    assert f"{rows.height} rows</span>" in page
    for row_id in rows["row_id"]:
        assert f"<bdi>{row_id}</bdi></a>" in page


@pytest.mark.parametrize("query", ["alone=C&key=x&page=-1", "page=999", "alone=<b>"])
def test_an_address_that_asks_for_what_there_is_not_has_the_first_rows(
    mapped_client: TestClient, query: str
) -> None:
    page = mapped_client.get(f"/compare?{query}")
    assert page.status_code == 200
    assert "<b>" not in page.text


def test_the_verdicts_intervals_are_those_of_the_proofs_own_metric() -> None:
    comparison = ComparisonFigures(
        control="random_rows",
        metric="generate",
        unit="points",
        mean_difference=4.0,
        half=1.5,
        estimate={"low": 2.0, "high": 6.0},
    )
    other = comparison.copy()
    other["metric"] = "loss"
    early = comparison.copy()
    early["control"], early["half"], early["estimate"] = "bm25", None, {}
    [one, two] = interval_lines(
        ProofFigures(metric="generate", comparisons=[comparison, other, early])
    )
    assert (one.control, one.difference, one.low, one.high, one.half) == (
        "as many random rows", 4.0, 2.0, 6.0, 1.5
    )  # fmt: skip
    assert (two.control, two.low, two.half) == ("bm25", None, None)
