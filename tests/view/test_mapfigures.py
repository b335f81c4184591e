"""Counts, categories and brushed rows of a map: against loops over its points."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

from curate.runs.folder import open_run
from curate.runs.vectors import find_vectors
from curate.view.mapbrush import PAGE_ROWS, MapQuery
from curate.view.mapfigures import FATES, OTHERS, brushed_rows, categories, points_json
from curate.view.maptable import TARGET, RowMap, lay_out

AREA = (("left", "-0.3"), ("right", "0.4"), ("bottom", "-0.5"), ("top", "0.5"))


@pytest.fixture
def row_map(mapped_run: Path) -> RowMap:
    run = open_run(mapped_run)
    stored = find_vectors(run)
    return lay_out(run, stored, stored.spaces[0])


def inside(row: dict[str, Any]) -> bool:
    return bool(-0.3 <= row["x"] <= 0.4 and -0.5 <= row["y"] <= 0.5)


@pytest.mark.parametrize("colour", ["fate", "source", "stage"])
def test_categories_are_counted(row_map: RowMap, colour: str) -> None:
    rows = row_map.points.to_dicts()
    names = [TARGET if row["fate"] == TARGET else row[colour] or "dropped by none" for row in rows]
    counts, brushed = Counter(names), Counter(
        name for name, row in zip(names, rows, strict=True) if inside(row)
    )  # fmt: skip
    assert brushed.total() > 5
    query = MapQuery(colour=colour, limits=AREA)
    for one in categories(row_map.points, query):
        assert (one.points, one.brushed) == (counts.pop(one.name), brushed[one.name])
    assert not counts


def test_the_rarest_of_many_categories_share_a_colour(row_map: RowMap) -> None:
    many = row_map.points.with_columns(
        source=pl.format("s{}", pl.int_range(pl.len()) % 30), fate=pl.lit("dropped")
    )
    shades = categories(many, MapQuery(colour="source"))
    assert [one.name for one in shades][-1] == OTHERS
    assert len(shades) == 9
    assert sum(one.points for one in shades) == many.height


def test_the_script_gets_every_point_with_the_numbers_of_its_colours(row_map: RowMap) -> None:
    columns = orjson.loads(points_json(row_map.points, "stage"))
    names = [one.name for one in categories(row_map.points, MapQuery(colour="stage"))]
    for number, row in enumerate(row_map.points.iter_rows(named=True)):
        assert columns["x"][number] == pytest.approx(row["x"], abs=1e-5)
        assert FATES[columns["fate"][number]] == row["fate"]
        name = TARGET if row["fate"] == TARGET else row["stage"] or "dropped by none"
        assert names[columns["category"][number]] == name


def test_the_rows_of_an_area_are_paged(row_map: RowMap) -> None:
    expected = [row["row_id"] for row in row_map.points.to_dicts() if inside(row)]
    assert len(expected) > PAGE_ROWS
    ids = list[str]()
    for number in range(1, 9):
        brushed = brushed_rows(row_map, MapQuery(limits=AREA, page=number))
        assert brushed is not None
        assert brushed.count == len(expected)
        if number <= brushed.pages:
            ids += [row.row_id for row in brushed.rows]
    assert ids == expected
    assert brushed is not None
    assert brushed.pages == -(-len(expected) // PAGE_ROWS)
    mix = Counter((row["fate"], row["source"]) for row in row_map.points.to_dicts() if inside(row))
    assert {(fate, source): count for fate, source, count in brushed.mix} == mix


def test_no_area_has_no_rows(row_map: RowMap) -> None:
    assert brushed_rows(row_map, MapQuery()) is None
