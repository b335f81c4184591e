"""Map, what-if, comparison and bundle in a real browser: by mouse, by keyboard, in both schemes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from playwright.sync_api import expect

from curate.config.recipe import Config
from curate.runs.folder import open_run
from curate.runs.plan import plan_selection
from curate.runs.rethreshold import rethreshold
from curate.view.app import build_app
from curate.view.bundle import write_bundle
from curate.view.context import open_context
from curate.view.server import ViewServer
from tests.report.realrun import FUZZY, finish, recipe, write_inputs
from tests.view.browser import SCREENS
from tests.view.browsing import Screen, screen

HOSTILE = "<script>alert(1)</script><img src=http://example.org/x onerror=alert(1)>" + "W" * 300
pytestmark = [pytest.mark.browser, pytest.mark.system]


@pytest.fixture(scope="module")
def server(mapped_run: Path, view_run: Path) -> Iterator[ViewServer]:
    one = ViewServer(build_app(open_context(mapped_run, view_run)))
    one.start()
    yield one
    one.stop()


@pytest.fixture(scope="module")
def bundle(mapped_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(open_run(mapped_run), tmp_path_factory.mktemp("bundle") / "shared")[0]


@pytest.fixture
def view(chromium: Any, server: ViewServer) -> Iterator[Screen]:
    with screen(chromium) as one:
        one.page.goto(server.url("/rows"))
        one.page.wait_for_url("**/rows")
        yield one
        assert one.faults == []


def address(server: ViewServer, path: str) -> str:
    return f"http://127.0.0.1:{server.port}{path}"


def open_map(view: Screen, server: ViewServer, query: str = "") -> Any:
    view.page.goto(address(server, f"/map{query}"))
    canvas = view.page.locator("#map")
    expect(canvas).to_have_attribute("data-drawn", re.compile(r"^[1-9]\d+$"))
    canvas.scroll_into_view_if_needed()
    return canvas


def drag(page: Any, canvas: Any, start: tuple[float, float], stop: tuple[float, float]) -> None:
    """Drag over a canvas, from one share of its width and height to another."""
    box = canvas.bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in (start, stop)]
    page.mouse.move(*places[0])
    page.mouse.down()
    page.mouse.move(*places[1], steps=4)
    page.mouse.up()


def test_a_brush_lists_its_rows_and_stands_in_the_address(
    view: Screen, server: ViewServer, mapped_run: Path
) -> None:
    page, canvas = view.page, open_map(view, server)
    drag(page, canvas, (0.02, 0.02), (0.98, 0.98))
    height = pl.read_parquet(mapped_run / "ledger.parquet").height + 2
    heading = page.locator("#brushed h2")
    expect(heading).to_contain_text(f"{height} points in the area")
    assert "left=-" in page.url
    page.reload()
    expect(heading).to_contain_text(f"{height} points in the area")
    drag(page, canvas, (0.4, 0.4), (0.6, 0.6))
    expect(heading).not_to_contain_text(f"{height} points")
    count = int(heading.inner_text().split()[0])
    inside = page.locator(".legend td:nth-child(3)").all_inner_texts()
    assert sum(map(int, inside)) == count
    page.get_by_role("link", name="Clear").click()
    expect(heading).to_have_count(0)
    assert "left" not in page.url


def test_an_area_is_brushed_by_keyboard_alone(view: Screen, server: ViewServer) -> None:
    page = view.page
    open_map(view, server)
    page.get_by_label("left", exact=True).focus()
    page.keyboard.type("-1")
    page.keyboard.press("Tab")
    page.keyboard.type("0")
    page.keyboard.press("Enter")
    page.wait_for_url("**left=-1&right=0**")
    first = page.locator("#brushed tbody a").first
    expect(first).to_be_visible()
    assert "row?id=" in (first.get_attribute("href") or "")


def hover(page: Any, server: ViewServer, canvas: Any, number: int) -> Any:
    """Point at a point of the map, by its number; return the box that describes it."""
    points = page.request.get(address(server, "/map/points")).json()
    box = canvas.bounding_box()
    spread = max((max(points["x"]) - min(points["x"])) / box["width"],
                 (max(points["y"]) - min(points["y"])) / box["height"])  # fmt: skip
    scale = 1 / (spread * 1.08)
    centre = [(max(points[axis]) + min(points[axis])) / 2 for axis in "xy"]
    page.mouse.move(
        box["x"] + box["width"] / 2 + (points["x"][number] - centre[0]) * scale,
        box["y"] + box["height"] / 2 - (points["y"][number] - centre[1]) * scale,
    )
    hint = page.locator("#hint")
    expect(hint).to_be_visible()
    return hint


def test_the_point_under_the_pointer_is_described(view: Screen, server: ViewServer) -> None:
    page, canvas = view.page, open_map(view, server)
    hint, box = hover(page, server, canvas, 7), canvas.bounding_box()
    assert "Answer" in hint.inner_text()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    expect(hint).to_be_hidden()


def pixels(canvas: Any) -> str:
    return str(canvas.evaluate("canvas => canvas.toDataURL()"))


def test_the_map_zooms_moves_and_changes_its_colours(view: Screen, server: ViewServer) -> None:
    page, canvas = view.page, open_map(view, server)
    views = [pixels(canvas)]

    def expect_another() -> None:
        page.wait_for_function(
            "last => document.getElementById('map').toDataURL() !== last", arg=views[-1]
        )
        views.append(pixels(canvas))

    page.get_by_role("button", name="Zoom in").click()
    expect_another()
    page.get_by_label("moves the map").check()
    drag(page, canvas, (0.5, 0.5), (0.6, 0.6))
    expect_another()
    assert page.locator("#brushed h2").count() == 0
    page.get_by_role("button", name="Whole map").click()
    expect_another()
    assert views[-1] == views[0]
    page.get_by_label("Colour by").select_option("stage")
    page.wait_for_url("**colour=stage**")
    expect(page.locator(".legend")).to_contain_text("fuzzy")


def test_a_slider_answers_as_the_plan(view: Screen, server: ViewServer, mapped_run: Path) -> None:
    page = view.page
    page.goto(address(server, "/whatif"))
    slider = page.get_by_role("slider", name="Budget")
    slider.focus()
    for _ in range(3):
        page.keyboard.press("ArrowRight")
    planned = plan_selection(open_run(mapped_run), "rows=15")
    expect(page.locator(".figures dd").first).to_contain_text("15")
    expect(page.locator(".figures dd").nth(1)).to_contain_text(f"{planned.tokens:,}")
    assert page.get_by_label("Budget", exact=True).first.input_value() == "15"
    assert "amount=15" in page.url
    page.get_by_label("Counted in").select_option("fraction")
    page.wait_for_url("**count=fraction**")
    expect(page.locator("#amount")).to_have_value("0.05")


def test_a_threshold_answers_as_the_stage_and_a_fault_is_in_place(
    view: Screen, server: ViewServer, mapped_run: Path
) -> None:
    page = view.page
    page.goto(address(server, "/whatif?of=fuzzy"))
    threshold = page.locator("#threshold")
    threshold.fill("0.9")
    result = rethreshold(open_run(mapped_run), "fuzzy", ["threshold=0.9"])
    expect(page.locator("#answer h2").first).to_have_text(f"{result.back} rows come back")
    assert page.locator(".now-mark").count() == 1
    threshold.fill("0.01")
    expect(page.locator("#fault")).to_contain_text("floor")
    view.faults.clear()
    threshold.fill("0.9")
    expect(page.locator("#fault")).to_be_empty()


@pytest.mark.parametrize(
    "path",
    [
        "/map?colour=stage&left=-1&right=1",
        "/whatif",
        "/whatif?of=fuzzy&threshold=0.9",
        "/compare?alone=B",
    ],
)
def test_pages_fit_and_are_accessible(chromium: Any, server: ViewServer, path: str) -> None:
    with screen(chromium) as one:
        one.page.goto(server.url("/rows"))
        one.page.wait_for_url("**/rows")
        for width, scheme in SCREENS:
            one.page.set_viewport_size({"width": width, "height": 900})
            one.page.emulate_media(color_scheme=scheme)
            one.page.goto(address(server, path))
            one.page.wait_for_load_state("networkidle")
            one.check(width)


def test_a_page_answers_without_a_script(chromium: Any, server: ViewServer) -> None:
    with screen(chromium, java_script_enabled=False) as one:
        one.page.goto(server.url("/whatif"))
        one.page.wait_for_url("**/whatif")
        one.page.locator("#amount").fill("20")
        one.page.get_by_role("button", name="Answer").click()
        assert "20" in one.page.locator(".figures dd").first.inner_text()
        assert one.page.get_by_role("slider").count() == 0


def test_a_bundle_works_from_a_file(chromium: Any, bundle: Path, mapped_run: Path) -> None:
    with screen(chromium, offline=True) as one:
        page = one.page
        page.goto(bundle.as_uri())
        canvas = page.locator("#map")
        expect(canvas).to_have_attribute("data-drawn", re.compile(r"^[1-9]\d+$"))
        canvas.scroll_into_view_if_needed()
        drag(page, canvas, (0.05, 0.05), (0.95, 0.95))
        status = page.locator("#map-rows [role=status]")
        expect(status).to_contain_text("points in the area")
        assert page.locator("#map-rows tbody tr").count() == 50
        page.locator("#map-rows button").click()
        expect(status).to_be_hidden()
        rows = page.locator("#rows")
        first = pl.read_parquet(mapped_run / "selected.parquet")["row_id"][0]
        rows.get_by_label("Search").fill(first)
        expect(rows.locator("tbody th code", has_text=first).first).to_be_visible()
        assert one.requests == [bundle.as_uri()]
        assert one.faults == []


def test_a_bundle_fits_and_is_accessible(chromium: Any, bundle: Path) -> None:
    for width, scheme in SCREENS:
        with screen(chromium, width, scheme, offline=True) as one:
            one.page.goto(bundle.as_uri())
            expect(one.page.locator("#map")).to_have_attribute(
                "data-drawn", re.compile(r"^[1-9]\d+$")
            )
            one.check(width)


def test_hostile_rows_do_nothing(chromium: Any, tmp_path: Path, tiny: Path) -> None:
    write_inputs(tmp_path, taint=f" {HOSTILE}", rows=12)
    settings = recipe(tmp_path, tiny, [{"kind": "exact"}, FUZZY]).model_dump(mode="json")
    settings |= {"name": "hostile", "select": {"method": "embed", "budget": {"rows": 9}}}
    other = settings | {"select": {"method": "length", "budget": {"rows": 9}}}
    runs = [
        finish(Config.model_validate(one), tmp_path / name)
        for one, name in ((settings, "one"), (other, "two"))
    ]
    viewer = ViewServer(build_app(open_context(*runs)))
    viewer.start()
    page, _ = write_bundle(open_run(runs[0]), tmp_path / "shared")
    queries = ("whatif?of=fuzzy&threshold=0.9", "compare?alone=B")
    with screen(chromium, 390) as one:
        one.page.goto(viewer.url("/rows"))
        one.page.wait_for_url("**/rows")
        for place in (*(address(viewer, f"/{query}") for query in queries), page.as_uri()):
            one.page.goto(place)
            one.page.wait_for_load_state("networkidle")
            assert "alert(1)" in one.page.locator("main").inner_text()
            assert one.page.locator("img, main script:not([type='application/json'])").count() == 0
            assert one.page.evaluate("document.documentElement.scrollWidth") <= 390
        canvas = open_map(one, viewer)
        assert "alert(1)" in hover(one.page, viewer, canvas, 3).inner_text()
        assert one.faults == []
        assert not [url for url in one.requests if "example.org" in url]
    viewer.stop()
