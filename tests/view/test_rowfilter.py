"""A filter is one condition, whether a browser or a terminal asks for it."""

from __future__ import annotations

import shlex

import polars as pl
import pytest
from starlette.datastructures import QueryParams

from curate.view.rowfilter import RowFilter, ScoreRange, quoted, text_condition

FACETS = ("fate", "stage", "source")
TEXTS = [
    "a plain text",
    "100% sure",
    "100 sure",
    "a_b",
    "axb",
    "it's",
    r"C:\new",
    "(a+b)",
    "A PLAIN",
]


def read(query: str) -> RowFilter:
    return RowFilter.of(QueryParams(query), FACETS)


def test_an_address_is_read_and_written_as_it_was() -> None:
    query = (
        "?fate=dropped&source=a&source=b%27c&column=fuzzy.score&low=0.5&text=x+y&where=rank+%3C+5"
    )
    address = f"{query}&sort=-score&page=3"
    assert read(address[1:]).query == address
    assert read("").query == ""
    assert read("").condition == ""


def test_the_parts_are_one_condition_in_sql() -> None:
    query = read(
        "fate=dropped&source=a&source=b'c&source=&column=score&low=0.5&high=1e1&where=rank<5"
    )
    assert query.parts == {
        "fate": "fate = 'dropped'",
        "source": "(source IN ('a', 'b''c', '') OR source IS NULL)",
        "range": "score >= 0.5 AND score <= 1e1",
        "where": "(rank<5)",
    }
    assert query.condition == " AND ".join(query.parts.values())
    words = shlex.split(query.sorted_by("score").command("runs/a b"))
    assert words[2:4] == ["runs/a b", "--where"]
    assert words[4:] == [query.condition, "--sort=-score"]


@pytest.mark.parametrize("limit", ["1 OR 1=1", "nan", "inf", "1_000", "", "١", "--1", "1;"])
def test_a_limit_is_a_number_or_none(limit: str) -> None:
    query = RowFilter.of(QueryParams({"column": "score", "low": limit}), FACETS)
    assert query.range == ScoreRange("score", "", "")
    assert query.condition == ""


@pytest.mark.parametrize("column", ["", "1=1 OR score", "score)--", "a'b"])
def test_a_column_of_limits_is_a_name(column: str) -> None:
    assert RowFilter.of(QueryParams({"column": column, "low": "1"}), FACETS).range is None


@pytest.mark.parametrize("page", ["0", "-1", "x", "1e3", "9" * 30, "²"])
def test_a_page_is_a_number_from_one_on(page: str) -> None:
    assert RowFilter.of(QueryParams({"page": page}), FACETS).page == 1


def test_what_is_no_facet_is_left_out() -> None:
    assert read("row_id=a&colour=b") == RowFilter()


def test_a_click_adds_a_value_or_takes_it_away_and_goes_to_the_first_page() -> None:
    start = read("fate=dropped&page=4")
    both = start.toggled("stage", "fuzzy").toggled("stage", "exact")
    assert both.values("stage") == ("fuzzy", "exact")
    assert both.page == 1
    assert both.toggled("stage", "fuzzy").toggled("stage", "exact") == read("fate=dropped")
    assert both.without("stage") == read("fate=dropped")
    assert (
        read("text=a&where=b&column=c&low=1").without("text").without("where").without("range")
        == RowFilter()
    )


def test_a_column_is_sorted_down_then_up_then_not() -> None:
    down = RowFilter().sorted_by("score")
    up = down.sorted_by("score")
    assert (down.sort, up.sort, up.sorted_by("score").sort) == ("-score", "score", "")


@pytest.mark.parametrize("text", ["plain", "100%", "a_b", "it's", r"C:\n", "(a+", "sure", "%"])
def test_a_text_is_searched_for_as_it_stands(text: str) -> None:
    frame = pl.DataFrame(
        {"prompt": TEXTS, "response": [None] * len(TEXTS)},
        {"prompt": pl.String, "response": pl.String},
    )
    met = frame.filter(pl.sql_expr(text_condition(text)))["prompt"].to_list()
    assert met == [one for one in TEXTS if text.lower() in one.lower()]


def test_a_text_in_sql_is_quoted() -> None:
    assert quoted("it's") == "'it''s'"
