"""The records that made no row: all of them, by reason, page by page, each with what its file says."""

from __future__ import annotations

import html
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from curate.view.app import build_app
from curate.view.context import ViewContext, open_context
from curate.view.rejectpage import address
from tests.report.realrun import finish, recipe, write_inputs

EMPTY, BROKEN = 60, 3


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> TestClient:
    folder = tmp_path_factory.mktemp("rejects")
    write_inputs(folder)
    with (folder / "pool.jsonl").open("a") as file:
        file.writelines('{"prompt": "<i>Hm", "completion": ""}\n' for _ in range(EMPTY))
        file.writelines("{broken <b>\n" for _ in range(BROKEN))
    config = recipe(folder, tiny, [{"kind": "exact"}])
    config = config.model_copy(
        update={"ingest": config.ingest.model_copy(update={"max_rejected": 1.0})}
    )
    return TestClient(build_app(open_context(finish(config, folder / "run"))))


def test_the_rows_lead_to_the_records(client: TestClient) -> None:
    assert (
        f'<a href="/rejects">{EMPTY + BROKEN} records</a> made no row' in client.get("/rows").text
    )
    page = client.get("/rejects").text
    assert "Page 1 of 2" in page
    assert page.count('<th scope="row">') == 50
    assert client.get("/rejects?page=9").text.count('<th scope="row">') == EMPTY + BROKEN - 50


def test_one_reason_at_a_click(client: TestClient) -> None:
    page = client.get("/rejects?reason=bad_json").text
    assert f"{BROKEN} records" in page
    assert page.count("{broken &lt;b&gt;") == BROKEN
    assert '<a href="/rejects" aria-current="true"><span>bad json</span>' in page


def test_a_record_has_its_own_page(client: TestClient) -> None:
    page = client.get("/rejects?reason=bad_json").text
    link = re.search('<th scope="row"><a href="(.*?)"', page)
    assert link is not None
    own = client.get(html.unescape(link[1]))
    assert own.status_code == 200
    assert "rejected at ingest" in own.text


def test_a_run_whose_records_all_made_rows_has_no_such_page(
    view_client: TestClient, view_context: ViewContext
) -> None:
    assert view_context.reject_count == 0
    assert view_client.get("/rejects").status_code == 404
    assert "made no row" not in view_client.get("/rows").text


def test_addresses_hold_what_they_must() -> None:
    assert address("", 1) == "/rejects"
    assert address("bad_json", 2) == "/rejects?reason=bad_json&page=2"
