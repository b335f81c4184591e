"""The rows of a filter and their counts, against the run's own query and plain loops over the ledger."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from starlette.datastructures import QueryParams

from curate.core.errors import UserError
from curate.runs.folder import open_run
from curate.runs.rowquery import RowQuery
from curate.view.context import ViewContext
from curate.view.rowfilter import RowFilter


def read(context: ViewContext, query: str) -> RowFilter:
    return RowFilter.of(QueryParams(query), context.rows.facets)


def ids(context: ViewContext, query: RowFilter) -> list[str]:
    positions = context.matcher.find(query).positions
    return context.rows.ledger["row_id"].gather(positions).to_list()


@pytest.mark.parametrize(
    "query",
    [
        "",
        "fate=dropped",
        "fate=dropped&stage=fuzzy&stage=exact",
        "fate=dropped&column=score&low=0.7&high=0.95&sort=score",
        "column=fuzzy.score&low=0.6&sort=-fuzzy.score",
        "text=may i",
        "where=prompt LIKE '%25May I%25' AND NOT rules.copied&sort=prompt",
        "sort=rank",
        "sort=-row_id",
        "where=duplicate_of IS NOT NULL OR rank < 3",
    ],
)
def test_the_browser_and_the_terminal_have_the_same_rows(
    view_context: ViewContext, view_run: Path, query: str
) -> None:
    parsed = read(view_context, query)
    terminal = RowQuery(parsed.condition or None, parsed.sort or None, first=10_000)
    expected = terminal.find(open_run(view_run))[1]["row_id"].to_list()
    assert len(expected) > 1
    assert ids(view_context, parsed) == expected


def test_each_facet_is_counted_under_the_others(view_context: ViewContext) -> None:
    ledger: list[dict[str, Any]] = view_context.rows.ledger.to_dicts()
    counts = view_context.matcher.facets(read(view_context, "fate=dropped&stage=fuzzy"))
    by_fate = Counter(row["fate"] for row in ledger if row["stage"] == "fuzzy")
    by_stage = Counter(row["stage"] for row in ledger if row["fate"] == "dropped")
    by_reason = Counter(
        row["reason"] for row in ledger if row["fate"] == "dropped" and row["stage"] == "fuzzy"
    )
    for name, expected in (("fate", by_fate), ("stage", by_stage), ("reason", by_reason)):
        assert {one.value: one.rows for one in counts[name]} == expected
        assert [one.rows for one in counts[name]] == sorted(expected.values(), reverse=True)
    assert [one.value for one in counts["stage"] if one.chosen] == ["fuzzy"]


def test_a_chosen_value_without_rows_is_still_there_to_be_taken_away(
    view_context: ViewContext,
) -> None:
    counts = view_context.matcher.facets(read(view_context, "fate=selected&stage=fuzzy"))
    assert ("fuzzy", 0, True) in [(one.value, one.rows, one.chosen) for one in counts["stage"]]
    assert ("nowhere", 0, True) in [
        (one.value, one.rows, one.chosen)
        for one in view_context.matcher.facets(read(view_context, "source=nowhere"))["source"]
    ]


@pytest.mark.parametrize(
    ("query", "fault"),
    [
        ("where=source =", "unable to parse|Expected"),
        ("where=sorce = 'web'", "sorce"),
        ("where=source", "Boolean"),
        ("where=1 = 1; DROP TABLE ledger", "invalid expression"),
        ("where=(", "cannot be found"),
        ("where=1=1) OR (1=1", "cannot be found"),
        ("column=nothing.score&low=1", "nothing"),
        ("sort=nothing", "nothing"),
        ("where=score > 'a'", "cannot be found"),
    ],
)
def test_a_condition_at_fault_is_a_sentence(
    view_context: ViewContext, query: str, fault: str
) -> None:
    with pytest.raises(UserError, match=fault):
        view_context.matcher.find(read(view_context, query))


def test_pages_are_even_parts_of_the_rows(view_context: ViewContext) -> None:
    matches = view_context.matcher.find(RowFilter())
    pages = [matches.page(number) for number in range(1, matches.pages + 1)]
    assert pl.concat(pages).to_list() == list(range(view_context.rows.height))
    assert {len(page) for page in pages[:-1]} == {50}
    assert view_context.matcher.find(read(view_context, "source=nowhere")).pages == 1
