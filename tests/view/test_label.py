"""Labelling in the viewer: what a page may change, and a batch from end to end by keys in a browser."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from starlette.testclient import TestClient

from curate.runs.folder import RunFolder, open_run
from curate.runs.labels import extend_queue, read_queue, saved_labels
from curate.view.app import build_app
from curate.view.context import open_context
from curate.view.label import TURN_CHARS, label_turns
from curate.view.server import ViewServer


@pytest.fixture
def run(view_run: Path, tmp_path: Path) -> RunFolder:
    """Return a run folder of this test's own."""
    shutil.copytree(view_run, tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.fixture
def client(run: RunFolder) -> TestClient:
    return TestClient(build_app(open_context(run.path)), base_url="http://127.0.0.1:8700")


def test_a_batch_is_drawn_labelled_skipped_and_taken_back(
    client: TestClient, run: RunFolder
) -> None:
    assert "drawn at random" in client.get("/label").text
    assert client.post("/label/draw", json={"count": 2}).json() == {"queued": 2}
    first, second = (row.row_id for row in read_queue(run))
    assert "1 of 2" in client.get("/label").text
    client.post("/label/set", json={"row_id": first, "correct": False})
    client.post("/label/set", json={"row_id": second, "correct": None})
    page = client.get("/label").text
    assert "All 2 rows of this batch are done." in page
    assert "1 was skipped" in page
    assert "0 right, 1 wrong" in page
    assert str(run.path / "labels" / "labels.jsonl") in page
    assert client.post("/label/undo", json={}).json() == {"row_id": first}
    assert saved_labels(run).height == 0
    client.post("/label/undo", json={"skipped": True})
    assert not any(row.skipped for row in read_queue(run))


@pytest.mark.parametrize(
    ("path", "change", "problem"),
    [
        ("set", {"row_id": "web/pool.jsonl:1", "correct": True}, "no row that is to be labelled"),
        ("set", {"row_id": "web/pool.jsonl:1"}, "correct: Field required"),
        ("set", {"row_id": "x" * 5000, "correct": True}, "row_id: String should have at most"),
        ("draw", {"count": 0}, "count: Input should be greater"),
        ("draw", {"count": 10**9}, "count: Input should be less"),
        ("undo", {}, "no row of this queue has a label"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(
    client: TestClient, run: RunFolder, path: str, change: Any, problem: str
) -> None:
    answer = client.post(f"/label/{path}", json=change)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert not (run.path / "labels").exists()


def test_of_a_very_long_turn_the_start_is_there() -> None:
    (turn,) = label_turns([{"role": "user", "content": "x" * (TURN_CHARS + 3)}])
    assert (len(turn.text), turn.cut) == (TURN_CHARS, 3)


@pytest.fixture
def page(run: RunFolder, chromium: Any) -> Iterator[Any]:
    """Yield the page that labels, signed in; its faults are those of the test."""
    server = ViewServer(build_app(open_context(run.path)))
    server.start()
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(server.url("/label"))
    page.wait_for_url("**/label")
    yield page
    context.close()
    server.stop()
    assert faults == []


@pytest.mark.browser
@pytest.mark.system
def test_a_batch_is_labelled_by_keys(page: Any, run: RunFolder) -> None:
    page.get_by_label("Rows", exact=True).fill("3")
    page.get_by_role("button", name="Draw rows").click()
    page.get_by_text("1 of 3").wait_for()
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []
    rows = [row.row_id for row in read_queue(run)]
    page.keyboard.press("y")
    page.get_by_text("2 of 3").wait_for()
    page.keyboard.press("n")
    page.get_by_text("3 of 3").wait_for()
    page.keyboard.press("u")
    page.get_by_text("2 of 3").wait_for()
    page.keyboard.press("y")
    page.get_by_text("3 of 3").wait_for()
    page.keyboard.press("s")
    page.get_by_text("All 3 rows of this batch are done.").wait_for()
    labels = saved_labels(run).select("row_id", "correct").rows()
    assert labels == [(rows[0], True), (rows[1], True)]
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []


@pytest.mark.browser
@pytest.mark.system
def test_the_page_fits_a_narrow_screen(page: Any, run: RunFolder) -> None:
    extend_queue(run, 3)
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    page.reload()
    page.get_by_text("1 of 3").wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert [v["id"] for v in Axe().run(page).response["violations"]] == []
