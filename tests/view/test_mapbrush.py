"""What a map's address asks for."""

from __future__ import annotations

import polars as pl
import pytest
from starlette.datastructures import QueryParams

from curate.view.mapbrush import MapArea, MapQuery


def query(text: str) -> MapQuery:
    return MapQuery.of(QueryParams(text))


def test_an_address_is_read_and_written_alike() -> None:
    text = "vectors=ab&colour=source&left=-0.5&right=1&bottom=0&top=.25&page=3"
    assert query(text).query == f"?{text}"
    assert query(text).area == MapArea(-0.5, 1, 0, 0.25)


def test_limits_are_ordered_and_may_be_left_out() -> None:
    assert query("left=1&right=0&top=0").area == MapArea(0, 1, float("-inf"), 0)
    assert query("").area is None
    assert query("left=&right=").area is None


@pytest.mark.parametrize("text", ["x", "nan", "inf", "1e999", "<b>", "1,5"])
def test_what_is_no_number_is_a_fault(text: str) -> None:
    one = MapQuery(limits=(("left", text),))
    assert f"left: {text} is no number" in one.fault
    assert one.area is None


@pytest.mark.parametrize("text", ["0", "-1", "x", "99999999999", ""])
def test_a_page_that_is_none_is_the_first(text: str) -> None:
    assert query(f"page={text}").page == 1


def test_an_unknown_colour_is_the_fate() -> None:
    assert query("colour=<b>").colour == "fate"


def test_the_edges_of_an_area_are_inside() -> None:
    points = pl.DataFrame({"x": [0.0, 0.5, 1.0, 1.1], "y": [0.0, 0.5, 1.0, 0.5]})
    assert points.filter(MapArea(0, 1, 0, 1).condition).height == 3
