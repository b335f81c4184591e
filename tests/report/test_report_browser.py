from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from curate.report.build import write_report
from curate.report.charts import draw_chart
from tests.report.conftest import Builder, RunSpec
from tests.report.realrun import FUZZY, LEAKS, finish, recipe, write_inputs
from tests.report.test_report_figures import CURVES
from tests.report.test_report_generated import make

pytestmark = [pytest.mark.browser, pytest.mark.system]
MakeRun = Callable[..., Path]
SCREENS = [(1200, "light"), (400, "dark")]
HOSTILE = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>" + "W" * 300


@pytest.mark.parametrize(
    ("spec", "verdict"),
    [
        ({}, "The selection is better than random"),
        ({"taint": HOSTILE, "leaking": True}, "better than random, but the eval set leaks"),
        ({"method": "random", "verdict": None}, "No proof was asked for"),
        ({"taint": HOSTILE, "compared": ("bm25", "less", "random")}, "The selection is better"),
    ],
)
def test_the_page_opens_offline_and_fits(
    chromium: Any, make_run: MakeRun, spec: dict[str, Any], verdict: str
) -> None:
    path = write_report(make_run(**spec))
    for width, scheme in SCREENS:
        check_page(chromium, path, verdict, width, scheme)


def test_duplicates_and_leaks_of_hostile_rows_fit(
    chromium: Any, tmp_path: Path, tiny: Path
) -> None:
    write_inputs(tmp_path, taint=f" {HOSTILE}", rows=20)
    stages: list[dict[str, Any]] = [
        {"kind": "exact", "conflicts": True},
        FUZZY,
        {"kind": "semantic"},
        LEAKS,
    ]
    path = write_report(finish(recipe(tmp_path, tiny, stages), tmp_path / "run"))
    for width, scheme in SCREENS:
        check_page(chromium, path, "No proof was asked for", width, scheme)


def test_made_rows_of_a_hostile_model_fit(
    chromium: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    taint = " <img src=x onerror=alert(1)>" + "".join(f"W{n}" for n in range(80))
    path = write_report(make(tmp_path, monkeypatch, taint=taint, limits={"calls": 60}))
    for width, scheme in SCREENS:
        check_page(chromium, path, "No proof was asked for", width, scheme)


def test_on_a_phone_the_name_of_a_line_stays_in_sight(chromium: Any, make_run: MakeRun) -> None:
    path = write_report(make_run(compared=("bm25", "less", "random")))
    context = chromium.new_context(viewport={"width": 390, "height": 844}, offline=True)
    page = context.new_page()
    page.goto(path.as_uri())
    moved = page.eval_on_selector_all(
        ".scroll",
        """all => all.filter(box => box.scrollWidth > box.clientWidth + 60).map(box => {
            box.scrollLeft = 60;
            const left = cell => cell.getBoundingClientRect().left - box.getBoundingClientRect().left;
            return ["thead tr > *", "tbody th"].map(cell => left(box.querySelector(cell)));
        })""",
    )
    assert moved and not any(map(any, moved))
    context.close()


def check_page(chromium: Any, path: Path, verdict: str, width: int, scheme: str) -> None:
    """Open a page offline, fold everything out, and check that it fits and asks for nothing."""
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, offline=True
    )
    page = context.new_page()
    requests: list[str] = []
    faults: list[str] = []
    page.on("request", lambda request: requests.append(request.url))
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(path.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    assert page.locator("h1").is_visible()
    assert verdict in page.locator("h2.verdict").inner_text()
    assert page.locator("h2.verdict").is_visible()
    sizes = page.eval_on_selector_all("svg", "all => all.map(s => s.getBoundingClientRect())")
    assert sizes
    assert all(size["width"] > 200 and size["height"] > 20 for size in sizes)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert requests == [path.as_uri()]
    assert faults == []
    context.close()


@pytest.fixture(scope="module")
def rows_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    spec = RunSpec(rows=120, selected=20, duplicates=30, leaks=4, taint=HOSTILE[:80])
    return write_report(Builder(tmp_path_factory.mktemp("rows"), spec).write())


@pytest.fixture
def rows_page(chromium: Any, rows_run: Path) -> Iterator[Any]:
    context = chromium.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    page = context.new_page()
    faults: list[str] = []
    page.on("console", lambda message: faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("dialog", lambda dialog: faults.append(dialog.message))
    page.goto(rows_run.as_uri())
    yield page
    assert faults == []
    context.close()


def ledger_of(page: Path) -> pl.DataFrame:
    return pl.read_parquet(page.parents[1] / "ledger.parquet")


def test_rows_are_filtered_searched_and_counted(rows_page: Any, rows_run: Path) -> None:
    ledger, rows = ledger_of(rows_run), rows_page.locator("#rows")
    count = rows.get_by_role("status")
    assert count.inner_text() == f"{ledger.height} of {ledger.height} rows"
    rows.get_by_label("Reason").select_option(label="exact_duplicate (30)")
    rows.get_by_label("Source").select_option(index=1)
    dropped = ledger.filter(reason="exact_duplicate")
    dropped = dropped.filter(pl.col("source") == dropped["source"].sort()[0])
    assert count.inner_text() == f"{dropped.height} of {ledger.height} rows"
    ids = rows.locator("tbody th").all_inner_texts()
    assert ids == dropped["row_id"].to_list()[: len(ids)]
    assert "--where \"source = '" in rows.locator(".note code").inner_text()
    rows.get_by_role("button", name="Show all").click()
    rows.get_by_label("Search").fill("QUESTION NUMBER 77?")
    expect(count).to_have_text(f"1 of {ledger.height} rows")
    assert "Question number 77?" in rows.locator("tbody .text").first.inner_text()


def test_rows_are_sorted_by_keyboard_and_paged(rows_page: Any, rows_run: Path) -> None:
    rows = rows_page.locator("#rows")
    head = rows.locator("th", has_text="Rank")
    head.get_by_role("button").focus()
    rows_page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "ascending"
    ranks = pl.read_parquet(rows_run.parents[1] / "ledger.parquet").sort("rank", nulls_last=True)
    ids = rows.locator("tbody th")
    assert ids.all_inner_texts() == ranks["row_id"].to_list()[:25]
    rows.get_by_role("button", name="Next").focus()
    rows_page.keyboard.press("Enter")
    assert ids.all_inner_texts() == ranks["row_id"].to_list()[25:50]
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    best = ranks.drop_nulls("rank").reverse()["row_id"].to_list()
    assert ids.all_inner_texts() == best[:25]


def test_a_number_of_a_table_leads_to_its_rows(rows_page: Any, rows_run: Path) -> None:
    ledger = ledger_of(rows_run)
    link = rows_page.locator("#losses table").nth(1).locator("tbody tr").first.locator("a").first
    count = int(link.inner_text())
    link.click()
    status = rows_page.locator("#rows").get_by_role("status")
    assert status.inner_text() == f"{count} of {ledger.height} rows"
    assert rows_page.evaluate("document.activeElement.type") == "search"


def test_without_script_the_page_is_a_full_document(chromium: Any, rows_run: Path) -> None:
    context = chromium.new_context(java_script_enabled=False, offline=True)
    page = context.new_page()
    page.goto(rows_run.as_uri())
    assert page.locator("#rows noscript").inner_text().endswith("which is off.")
    assert not page.locator("[data-rows-table]").is_visible()
    assert page.locator("#dropped .drop").count() >= 4
    context.close()


@pytest.mark.parametrize(("width", "scheme"), SCREENS)
def test_the_page_breaks_no_rule_of_accessibility(
    chromium: Any, rows_run: Path, width: int, scheme: str
) -> None:
    context = chromium.new_context(
        viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
    )
    page = context.new_page()
    page.goto(rows_run.as_uri())
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
    violations = Axe().run(page).response["violations"]
    assert [(one["id"], [node["html"] for node in one["nodes"][:3]]) for one in violations] == []
    context.close()


def test_charts_follow_the_colour_scheme(chromium: Any, make_run: MakeRun) -> None:
    path = write_report(make_run())
    colours = []
    for scheme in ("light", "dark"):
        context = chromium.new_context(color_scheme=scheme)
        page = context.new_page()
        page.goto(path.as_uri())
        colours.append(
            page.eval_on_selector("#funnel svg text", "text => getComputedStyle(text).fill")
        )
        context.close()
    assert colours == ["rgb(29, 33, 38)", "rgb(228, 231, 234)"]


def test_no_text_leaves_its_figure(chromium: Any, make_run: MakeRun, tmp_path: Path) -> None:
    path = write_report(
        make_run(origin=lambda i: f"a_rather_long_Name_of_an_origin_{i % 40}", compared=("bm25",))
    )
    page = chromium.new_page(viewport={"width": 1200, "height": 900})
    page.goto(path.as_uri())
    assert texts_outside(page) == []
    path = tmp_path / "curves.html"
    path.write_text("".join(draw_chart(chart).svg for chart in CURVES.values()))
    page.goto(path.as_uri())
    assert texts_outside(page) == []
    page.close()


def texts_outside(page: Any) -> list[str]:
    outside: list[str] = page.eval_on_selector_all(
        "svg text",
        """all => all.filter(text => {
            const inner = text.getBoundingClientRect()
            const outer = text.closest('svg').getBoundingClientRect()
            return inner.left < outer.left - 1 || inner.right > outer.right + 1
                || inner.top < outer.top - 1 || inner.bottom > outer.bottom + 1
        }).map(text => text.textContent)""",
    )
    return outside


def test_the_page_can_be_printed(chromium: Any, make_run: MakeRun) -> None:
    page = chromium.new_page()
    page.goto(write_report(make_run()).as_uri())
    page.emulate_media(media="print", color_scheme="dark")
    folded = page.locator("details:not([open])").count()
    page.evaluate(
        "addEventListener('beforeprint', () => { window.open_on_paper = "
        "document.querySelectorAll('details:not([open])').length })"
    )
    assert page.pdf(format="A4").startswith(b"%PDF")
    assert folded and page.evaluate("window.open_on_paper") == 0
    assert page.locator("details:not([open])").count() == folded
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == "rgb(255, 255, 255)"
    page.close()
