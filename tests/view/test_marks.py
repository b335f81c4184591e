"""Marks in the viewer: what a page may change, what it is told, and the keys in a real browser."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from starlette.testclient import TestClient

from curate.config.recipe import Config
from curate.judge.marks import Mark
from curate.pipeline.curation import run_curation
from curate.runs.folder import RunFolder, open_run
from curate.runs.marks import left_out_rows, marks_path, save_mark, saved_marks
from curate.view.app import build_app
from curate.view.context import open_context
from curate.view.marks import MOST_RESPONSE
from curate.view.server import ViewServer

ROW = "web/pool.jsonl:1"
HOSTILE = "<img src=x onerror=alert(1)>\u202e</script>"


@pytest.fixture
def run(view_run: Path, tmp_path: Path) -> RunFolder:
    """Return a run folder of this test's own."""
    shutil.copytree(view_run, tmp_path / "run")
    return open_run(tmp_path / "run")


@pytest.fixture
def client(run: RunFolder) -> TestClient:
    return TestClient(build_app(open_context(run.path)), base_url="http://127.0.0.1:8700")


def kinds(run: RunFolder) -> dict[str, str]:
    return {mark.row_id: mark.kind for mark in saved_marks(run).marks.values()}


def test_a_row_is_marked_and_the_mark_is_taken_back(client: TestClient, run: RunFolder) -> None:
    change = {"row_id": ROW, "mark": "drop", "note": " off topic "}
    assert client.post("/marks/set", json=change).json() == {
        "row_id": ROW, "mark": "drop", "count": 1,
    }  # fmt: skip
    (mark,) = saved_marks(run).marks.values()
    assert (mark.row_id, mark.kind, mark.note) == (ROW, "drop", "off topic")
    assert mark.at is not None
    states = client.post("/marks/of", json={"rows": [ROW, "web/pool.jsonl:2", "nowhere"]}).json()
    assert states == {"rows": {ROW: "drop"}}
    state = client.post("/marks/row", json={"row_id": ROW}).json()
    assert (state["mark"], state["note"], state["fault"]) == ("drop", "off topic", "")
    assert client.post("/marks/undo", json={"content_hash": mark.content_hash}).status_code == 200
    assert kinds(run) == {}


def test_a_correction_is_shown_before_it_is_saved(client: TestClient, run: RunFolder) -> None:
    own = client.post("/marks/row", json={"row_id": ROW}).json()["response"]
    new = own.replace("Answer", "Reply")
    sides = client.post("/marks/preview", json={"row_id": ROW, "response": new}).json()
    assert [words for words, marked in sides["old"] if marked] == ["Answer"]
    assert [words for words, marked in sides["new"] if marked] == ["Reply"]
    change = {"row_id": ROW, "mark": "correct", "response": new}
    assert client.post("/marks/set", json=change).status_code == 200
    assert next(iter(saved_marks(run).marks.values())).response == new
    assert client.post("/marks/row", json={"row_id": ROW}).json()["response"] == new


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"row_id": "nowhere", "mark": "drop"}, "has no row 'nowhere'"),
        ({"row_id": ROW, "mark": "maybe"}, "mark: Input should be 'keep', 'drop', 'correct'"),
        ({"row_id": ROW}, "mark: Field required"),
        ({"row_id": ROW, "mark": "drop", "path": "/etc"}, "path: unknown key"),
        ({"row_id": ROW, "mark": "correct"}, "needs a response"),
        ({"row_id": ROW, "mark": "correct", "response": "  "}, "needs a response"),
        ({"row_id": ROW, "mark": "correct", "response": "Answer 0."}, "has already"),
        ({"row_id": ROW, "mark": "correct", "response": "x" * (MOST_RESPONSE + 1)}, "at most"),
        ({"row_id": ROW, "mark": "keep", "note": "x" * 2001}, "note: String should have at most"),
        ([], "request: Input should be"),
    ],
)
def test_what_cannot_be_done_is_a_sentence_and_changes_nothing(
    client: TestClient, run: RunFolder, change: Any, problem: str
) -> None:
    answer = client.post("/marks/set", json=change)
    assert answer.status_code == 400
    assert problem in answer.json()["error"]
    assert not (run.path / "marks").exists()


def test_broken_json_is_a_sentence(client: TestClient) -> None:
    answer = client.post("/marks/set", content="{", headers={"content-type": "application/json"})
    assert answer.status_code == 400
    assert "Invalid JSON" in answer.json()["error"]


def test_the_list_has_the_command_and_the_file(client: TestClient, run: RunFolder) -> None:
    assert "No row of this run is marked" in client.get("/marks").text
    assert client.get("/marks/download").status_code == 400
    client.post("/marks/set", json={"row_id": ROW, "mark": "keep", "note": HOSTILE})
    page = client.get("/marks").text
    assert f"curate run {run.path}/marks/recipe.yaml" in page
    assert "<img src=x" not in page
    assert "\u202e" not in page
    assert client.get("/marks/download").content == marks_path(run).read_bytes()


def test_a_mark_of_a_text_that_is_not_in_the_run_can_be_taken_back(
    client: TestClient, run: RunFolder
) -> None:
    save_mark(run, Mark("old/a.jsonl:1", "0" * 32, "drop"))
    assert "its text is not in this run" in client.get("/marks").text
    assert client.post("/marks/undo", json={"content_hash": "0" * 32}).status_code == 200
    answer = client.post("/marks/undo", json={"content_hash": "0" * 32})
    assert "is marked" in answer.json()["error"]


@pytest.fixture
def pairs_client(tmp_path: Path) -> TestClient:
    """Look at a run of two pairs of one text, and a plain row of another."""
    answers = {"chosen": "A boat.", "rejected": "A stone."}
    lines: list[dict[str, str]] = [
        {"prompt": "What floats?", **answers},
        {"prompt": "What floats?", **answers, "rejected": "An anvil."},
        {"prompt": "What grows?", "completion": "A tree."},
    ]
    (tmp_path / "pool.jsonl").write_text("\n".join(map(json.dumps, lines)))
    recipe = {
        "name": "pairs",
        "pool": [{"path": str(tmp_path / "pool.jsonl"), "source": "web"}],
        "store": str(tmp_path / "store"),
    }
    run_curation(Config.model_validate(recipe), tmp_path / "run")
    return TestClient(build_app(open_context(tmp_path / "run")), base_url="http://127.0.0.1:8700")


def test_each_pair_of_a_text_is_marked_by_itself(pairs_client: TestClient, tmp_path: Path) -> None:
    ids = [f"web/pool.jsonl:{number}" for number in (1, 2, 3)]

    def set_mark(row_id: str, kind: str) -> dict[str, str]:
        change = {"row_id": row_id, "mark": kind}
        assert pairs_client.post("/marks/set", json=change).status_code == 200
        states: dict[str, str] = pairs_client.post("/marks/of", json={"rows": ids}).json()["rows"]
        return states

    assert set_mark(ids[0], "drop") == {ids[0]: "drop"}
    assert set_mark(ids[1], "keep") == {ids[0]: "drop", ids[1]: "keep"}
    run = open_run(tmp_path / "run")
    assert left_out_rows(run).to_list() == [ids[0]]
    page = pairs_client.get("/marks").text
    assert "rows of this text" not in page
    assert page.count("What floats?") == 2
    assert set_mark(ids[0], "none") == {ids[1]: "keep"}
    (mark,) = saved_marks(run).marks.values()
    assert f'data-rejected="{mark.rejected}"' in pairs_client.get("/marks").text
    change = {"content_hash": mark.content_hash, "rejected": mark.rejected}
    assert pairs_client.post("/marks/undo", json=change).status_code == 200
    assert kinds(run) == {}
    # A mark of the whole text, as files of before have it, is taken back at any of its rows.
    save_mark(run, Mark(ids[0], mark.content_hash, "drop"))
    assert left_out_rows(run).to_list() == ids[:2]
    assert set_mark(ids[1], "none") == {}


# --- in a browser ---------------------------------------------------------------------------------


@pytest.fixture
def page(run: RunFolder, chromium: Any) -> Iterator[Any]:
    """Yield a page that is signed in, and whose faults are those of the test."""
    server = ViewServer(build_app(open_context(run.path)))
    server.start()
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(server.url("/rows"))
    page.wait_for_url("**/rows")
    yield page
    context.close()
    server.stop()
    assert faults == []


def violations(page: Any) -> list[Any]:
    return [v["id"] for v in Axe().run(page).response["violations"]]


@pytest.mark.browser
@pytest.mark.system
def test_rows_are_marked_in_the_table_by_keys(page: Any, run: RunFolder) -> None:
    page.locator("[data-marks-help]").wait_for()
    names = page.locator("[data-row]").evaluate_all("all => all.map(one => one.dataset.row)")
    page.keyboard.press("j")
    page.keyboard.press("d")
    page.get_by_text(f"{names[0]}: drop.").wait_for()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("k")
    page.get_by_text(f"{names[1]}: keep.").wait_for()
    assert kinds(run) == {names[0]: "drop", names[1]: "keep"}
    page.keyboard.press("ArrowUp")
    page.keyboard.press("u")
    page.get_by_text(f"{names[0]}: the mark is taken back.").wait_for()
    assert kinds(run) == {names[1]: "keep"}
    page.reload()
    page.locator(f"[data-row='{names[1]}'] .mark.keep").wait_for()
    assert violations(page) == []


@pytest.mark.browser
@pytest.mark.system
def test_letters_that_are_typed_mark_nothing(page: Any, run: RunFolder) -> None:
    page.locator("[data-marks-help]").wait_for()
    page.locator("#text").fill("")
    page.locator("#text").press_sequentially("jdkcu")
    assert page.locator("#text").input_value() == "jdkcu"
    assert kinds(run) == {}


@pytest.mark.browser
@pytest.mark.system
def test_a_mark_is_taken_back_in_the_list(page: Any, run: RunFolder) -> None:
    rows = run.rows("pool")
    assert rows is not None
    (text,) = rows.filter(row_id=ROW).collect()["content_hash"]
    save_mark(run, Mark(ROW, text, "correct", HOSTILE, HOSTILE))
    page.goto(page.url.replace("/rows", "/marks"))
    assert page.locator("tbody .mark.correct").count() == 1
    page.get_by_text("New response").click()
    assert violations(page) == []
    page.get_by_role("button", name="Undo").click()
    page.get_by_text("No row of this run is marked").wait_for()
    assert kinds(run) == {}


@pytest.mark.browser
@pytest.mark.system
def test_a_row_is_corrected_by_keys_with_the_difference_in_sight(page: Any, run: RunFolder) -> None:
    page.locator("[data-marks-help]").wait_for()
    page.keyboard.press("j")
    page.keyboard.press("c")
    page.locator("#mark-response").wait_for()
    page.keyboard.press("Control+a")
    page.keyboard.type(HOSTILE)
    page.locator("[data-preview] ins").filter(has_text="<img src=x").wait_for()
    assert violations(page) == []
    page.locator("#mark-note").fill("was off topic")
    page.get_by_role("button", name="Save the correction").press("Enter")
    page.locator("[data-state].correct").wait_for()
    (mark,) = saved_marks(run).marks.values()
    assert (mark.kind, mark.response, mark.note) == ("correct", HOSTILE, "was off topic")
    page.locator("h1").click()
    page.keyboard.press("u")
    page.get_by_text("The mark is taken back.").wait_for()
    assert kinds(run) == {}
    here = page.url
    page.keyboard.press("j")
    page.wait_for_url(lambda address: address != here)
    page.locator("[data-marking]").wait_for()
    page.keyboard.press("d")
    page.get_by_text("Saved: drop.").wait_for()
    assert list(kinds(run).values()) == ["drop"]


@pytest.mark.browser
@pytest.mark.system
@pytest.mark.parametrize("path", ["/rows", "/marks", f"/row?id={ROW}"])
def test_pages_with_marks_fit_a_narrow_screen(page: Any, run: RunFolder, path: str) -> None:
    rows = run.rows("pool")
    assert rows is not None
    (text,) = rows.filter(row_id=ROW).collect()["content_hash"]
    save_mark(run, Mark(ROW, text, "correct", HOSTILE * 5, HOSTILE * 5))
    page.set_viewport_size({"width": 390, "height": 800})
    page.emulate_media(color_scheme="dark")
    page.goto(page.url.replace("/rows", path))
    page.locator(".mark.correct").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert violations(page) == []
