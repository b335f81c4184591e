"""The app around its pages: navigation, files, faults as sentences."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from starlette.requests import Request
from starlette.responses import Response
from starlette.testclient import TestClient

from curate.view.app import build_app
from curate.view.context import ViewContext, open_context


def test_the_address_alone_leads_to_the_rows(view_client: TestClient) -> None:
    page = view_client.get("/")
    assert page.url.path == "/rows"
    assert '<a href="/rows" aria-current="page">Rows</a>' in page.text


def test_files_are_served_and_no_others(view_client: TestClient) -> None:
    assert "--accent" in view_client.get("/static/palette.css").text
    assert view_client.get("/static/view.css").headers["content-type"].startswith("text/css")
    for path in ("../context.py", "%2e%2e/context.py", "..%2fcontext.py", "/etc/passwd", "."):
        assert view_client.get(f"/static/{path}").status_code == 404


def test_an_address_that_is_not_there_is_a_sentence(view_client: TestClient) -> None:
    page = view_client.get("/nowhere/<b>")
    assert page.status_code == 404
    assert "/nowhere/" in page.text
    assert "<b>" not in page.text
    assert view_client.post("/rows").status_code == 405
    assert "error" in view_client.post("/rows").json()


def test_a_run_that_was_replaced_meanwhile_is_a_sentence(view_run: Path, tmp_path: Path) -> None:
    shutil.copytree(view_run, tmp_path / "run")
    client = TestClient(build_app(open_context(tmp_path / "run")))
    assert client.get("/rows").status_code == 200
    manifest = tmp_path / "run" / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"name": "new"}))
    page = client.get("/rows")
    assert page.status_code == 400
    assert "run `curate view` again" in page.text


def fall(request: Request) -> Response:
    raise ZeroDivisionError


def test_a_fault_of_curate_is_no_sentence(view_context: ViewContext) -> None:
    app = build_app(view_context)
    app.add_route("/fault", fall)
    with pytest.raises(ZeroDivisionError):
        TestClient(app).get("/fault")


def test_a_damaged_table_is_a_sentence(view_run: Path, tmp_path: Path) -> None:
    shutil.copytree(view_run, tmp_path / "run")
    client = TestClient(build_app(open_context(tmp_path / "run")))
    evidence = tmp_path / "run" / "evidence" / "fuzzy.parquet"
    evidence.write_bytes(evidence.read_bytes()[:100])
    page = client.get("/rows?column=fuzzy.score&low=0")
    assert page.status_code == 400
    assert "a table of this run cannot be read" in page.text
