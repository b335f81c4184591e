"""The rows in Chromium: every control, by mouse and by keyboard, wide and narrow, and hostile texts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from curate.view.app import build_app
from curate.view.context import open_context
from curate.view.server import ViewServer
from tests.report.realrun import FUZZY, LEAKS, finish, recipe, write_inputs
from tests.view.browser import SCREENS, Visit, visit

pytestmark = [pytest.mark.browser, pytest.mark.system]
HOSTILE = (
    "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>"
    '"><svg onload=alert(1)>\u202e\u2066\x1b[31m{{ 7*7 }}\'"' + "W" * 300
)


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory, tiny: Path) -> Iterator[str]:
    """Return the address of a served run whose rows do all that rows can do."""
    folder = tmp_path_factory.mktemp("browser")
    write_inputs(folder, taint=f" {HOSTILE}")
    with (folder / "pool.jsonl").open("a") as file:
        lines = [
            {"prompt": "=cmd|' /C calc'!A0", "completion": "W" * 2**20, "origin": HOSTILE},
            {"prompt": "javascript:alert(1)", "completion": "Ordinary.", "origin": "-1"},
        ]
        file.writelines(json.dumps(line) + "\n" for line in lines)
        file.write(f"{{broken {HOSTILE}\n")
    stages: list[dict[str, Any]] = [{"kind": "exact"}, FUZZY, LEAKS]
    run = finish(recipe(folder, tiny, stages), folder / "run")
    context = open_context(run)
    context.rows.texts.column("prompt", patient=True)
    server = ViewServer(build_app(context))
    server.start()
    yield server.url()
    server.stop()


def first_row(one: Visit, query: str) -> None:
    one.go(f"/rows{query}")
    one.page.locator("tbody th a").first.click()
    one.page.wait_for_url("**/row?*")


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_pages_fit_and_break_no_rule_of_accessibility(
    chromium: Any, address: str, width: int, scheme: str
) -> None:
    with visit(chromium, address, width, scheme) as one:
        for path in (
            "/rows?fate=dropped&column=fuzzy.score&low=0.6&where=prompt+LIKE+%27%25%27&text=may",
            "/rows?text=alert",
            "/rows?source=nowhere",
            "/rejects",
        ):
            one.go(path)
            assert one.overflow() == 0
            assert one.violations() == []
        for query in (
            "?stage=fuzzy",
            "?stage=leaks",
            "?fate=selected",
            "?text=WWWWWWW&sort=-row_id",
        ):
            first_row(one, query)
            assert one.violations() == []
            assert one.overflow() == 0


def test_a_condition_at_fault_fits(chromium: Any, address: str) -> None:
    with visit(chromium, address, 390, "dark") as one:
        one.go("/rows?where=%3Cscript%3Ealert(1)%3C/script%3E" + "W" * 300)
        expect(one.page.get_by_role("alert")).to_contain_text("The rows cannot be found")
        assert one.overflow() == 0
        assert one.violations() == []
        # The status of the page itself is all that may have been said.
        assert all("400" in fault for fault in one.faults)
        one.faults.clear()


def test_every_control_of_the_table(chromium: Any, address: str) -> None:
    with visit(chromium, address, 1280, "light") as one:
        page = one.page
        count = page.locator(".count")
        every = count.inner_text()
        page.get_by_role("link", name="dropped").first.click()
        page.wait_for_url("**/rows?fate=dropped")
        dropped = count.inner_text()
        assert dropped != every
        page.get_by_role("link", name="fuzzy", exact=False).first.click()
        page.wait_for_url("**stage=fuzzy")
        page.get_by_text("By score or SQL").click()
        page.get_by_label("Score").select_option("fuzzy.score")
        page.get_by_label("from").fill("0.7")
        page.get_by_role("button", name="Apply").click()
        page.wait_for_url("**low=0.7**")
        page.get_by_role("link", name="fuzzy.score").click()
        page.wait_for_url("**sort=-fuzzy.score")
        expect(page.locator("th[aria-sort=descending]")).to_have_text("fuzzy.score ↓")
        scores = [
            float(text) for text in page.locator("td[data-label='fuzzy.score']").all_inner_texts()
        ]
        assert scores == sorted(scores, reverse=True)
        assert min(scores) >= 0.7
        page.get_by_label("Text").fill("answer")
        page.keyboard.press("Enter")
        page.wait_for_url("**text=answer**")
        assert "fuzzy.score >= 0.7" in page.locator("#command").inner_text()
        for name in ("text", "range", "stage"):
            page.get_by_role("link", name=f"Remove the filter by {name}").click()
        expect(count).to_have_text(dropped)
        page.get_by_text("By score or SQL").click()
        page.get_by_label("SQL").fill("rank = 1")
        page.get_by_label("SQL").press("Enter")
        page.get_by_role("link", name="Clear all").click()
        expect(count).to_have_text(every)
        page.get_by_role("link", name="Next").click()
        expect(page.locator(".pages span")).to_contain_text("Page 2 of")
        page.get_by_role("link", name="Last").click()
        page.get_by_role("link", name="Previous").click()
        page.get_by_role("link", name="First").click()
        expect(page.locator(".pages span")).to_contain_text("Page 1 of")


def test_a_row_leads_on_to_its_kin(chromium: Any, address: str) -> None:
    with visit(chromium, address, 1280, "dark") as one:
        page = one.page
        first_row(one, "?stage=fuzzy&sort=score")
        expect(page.locator("mark").first).to_be_visible()
        name = page.locator("h1").inner_text()
        page.get_by_role("link", name="Row after").click()
        page.get_by_role("link", name="Row before").click()
        expect(page.locator("h1")).to_have_text(name)
        page.get_by_role("link", name="Compare with").first.click()
        expect(page.locator("#beside")).to_contain_text("Compared with")
        page.locator("#beside a").click()
        expect(page.locator("h1")).not_to_have_text(name)
        page.get_by_role("link", name="in the table").click()
        expect(page.locator(".chips")).to_contain_text("duplicate_of = ")


def test_a_text_of_a_megabyte_is_there_at_a_click(chromium: Any, address: str) -> None:
    with visit(chromium, address, 390, "light") as one:
        first_row(one, "?text=cmd|")
        one.page.get_by_role("link", name="Show all of it").click()
        expect(one.page.locator(".text").nth(1)).to_contain_text("W" * 10_000)
        assert one.overflow() == 0


def test_rows_come_as_a_file_without_formulas(chromium: Any, address: str, tmp_path: Path) -> None:
    with visit(chromium, address, 1280, "light") as one:
        one.go("/rows?text=cmd|")
        with one.page.expect_download() as download:
            one.page.get_by_role("link", name="CSV").click()
        download.value.save_as(tmp_path / "rows.csv")
        text = (tmp_path / "rows.csv").read_text()
        assert ",'=cmd|" in text
        assert ",=cmd|" not in text
        with one.page.expect_download() as download:
            one.page.get_by_role("link", name="JSON Lines").click()
        download.value.save_as(tmp_path / "rows.jsonl")
        assert json.loads((tmp_path / "rows.jsonl").read_text())["prompt"] == "=cmd|' /C calc'!A0"


def test_the_command_is_copied(chromium: Any, address: str) -> None:
    with visit(chromium, address, 1280, "light") as one:
        one.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        one.go("/rows?fate=dropped")
        one.page.get_by_role("button", name="Copy").click()
        expect(one.page.get_by_role("button", name="Copied")).to_be_visible()
        copied = one.page.evaluate("navigator.clipboard.readText()")
        assert copied.endswith("--where \"fate = 'dropped'\"")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_keyboard_alone_reaches_a_filter_a_row_and_back(
    chromium: Any, address: str, width: int
) -> None:
    with visit(chromium, address, width, "light") as one:
        page = one.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        page.keyboard.press("Enter")
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.id") == "text"
        page.keyboard.type("may i")
        page.keyboard.press("Enter")
        page.wait_for_url("**text=may+i")
        press_until(page, "tbody th a")
        ring = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert ring == "solid"
        page.keyboard.press("Enter")
        page.wait_for_url("**/row?*")
        press_until(page, "nav.pages a")
        page.keyboard.press("Enter")
        page.wait_for_url("**/rows?text=may+i")


def press_until(page: Any, selector: str) -> None:
    """Go on by the tabulator until the focus is on what a selector names."""
    focused = f"document.activeElement.matches({json.dumps(selector)})"
    for _ in range(120):
        page.keyboard.press("Tab")
        if page.evaluate(focused):
            return
    raise AssertionError(f"{selector} cannot be reached")


def test_texts_that_are_still_read_come_by_themselves(
    chromium: Any, view_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("curate.view.rowtexts.PATIENCE_SECONDS", 0.0)
    context = open_context(view_run)
    texts = context.rows.texts
    texts._started = True
    server = ViewServer(build_app(context))
    server.start()
    with visit(chromium, server.url(), 1280, "light") as one:
        one.go("/rows?text=may+i")
        expect(one.page.get_by_text("The texts are being read")).to_be_visible()
        expect(one.page.locator("tbody tr")).to_have_count(0)
        texts._started = False
        texts.start()
        expect(one.page.locator("tbody tr").first).to_be_visible()
        expect(one.page.get_by_text("The texts are being read")).to_have_count(0)
    server.stop()
