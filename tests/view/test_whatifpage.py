"""The what-if page: what it answers, and faults in place."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from curate.runs.folder import open_run
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold


def test_the_page_opens_with_the_runs_own_selection(mapped_client: TestClient) -> None:
    page = mapped_client.get("/whatif")
    assert page.status_code == 200
    assert 'name="amount" inputmode="decimal" size="9" autocomplete="off" value="12"' in page.text
    assert "No row changes." in page.text
    for name in ("fuzzy", "semantic"):
        assert f'href="/whatif?of={name}"' in page.text


def test_another_budget_is_answered_as_by_the_plan(
    mapped_client: TestClient, mapped_run: Path
) -> None:
    page = mapped_client.get("/whatif?of=select&count=rows&amount=30").text
    planned = plan_selection(open_run(mapped_run), "rows=30")
    assert f"<dd>{planned.tokens:,} " in page
    assert f"{planned.rows - planned.shared:,} rows come in" in page
    assert f"curate plan {mapped_run} --budget rows=30" in unescape(page)


def test_another_threshold_is_answered_as_by_the_stage(
    mapped_client: TestClient, mapped_run: Path
) -> None:
    page = mapped_client.get("/whatif?of=fuzzy&threshold=0.85").text
    result = rethreshold(open_run(mapped_run), "fuzzy", ["threshold=0.85"])
    assert f"{result.back:,} rows come back" in page
    assert page.count('class="now-mark"') == page.count('class="run-mark"') == 1
    row_id = result.before.filter(keep=False)["row_id"][0]
    assert f"curate rethreshold {mapped_run} fuzzy --set threshold=0.85" in unescape(page)
    assert row_id


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("of=select&amount=-4", "rows must be above 0"),
        ("of=select&amount=<b>", "--budget rows=<b>: write it as"),
        ("of=select&filter=nothing = 1", "nothing"),
        ("of=select&settings='", "write KEY=VALUE"),
        ("of=select&by=source&cap=7", "less than or equal to 1"),
        ("of=fuzzy&threshold=0.1", "the floor"),
        ("of=fuzzy&threshold=x", "valid number"),
        ("of=fuzzy&settings=compare=prompt", "needs other pairs than the stored ones"),
        ("of=nothing", "no stage of this name"),
    ],
)
def test_a_fault_is_a_sentence_in_place(mapped_client: TestClient, query: str, fault: str) -> None:
    page = mapped_client.get(f"/whatif?{query}")
    assert page.status_code == 400
    assert fault in unescape(page.text)
    assert "<b>" not in page.text
