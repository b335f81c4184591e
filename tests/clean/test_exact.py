"""Exact duplicates: the earliest row of a text stays, the others name it."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.clean.exact import ExactParams, exact
from curate.registry import StageData
from tests.conftest import frame, row, turns


def judge(rows: pl.DataFrame) -> pl.DataFrame:
    return exact(StageData(rows.lazy(), None, None), ExactParams()).evidence


@given(
    st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(["x", " x\n", "y"])), max_size=25)
)
def test_agrees_with_a_dictionary_of_first_rows(texts: list[tuple[str, str]]) -> None:
    rows = frame([row(f"r{(7 * i) % 31:02}", turns(q, a)) for i, (q, a) in enumerate(texts)])
    first: dict[tuple[str, str], str] = {}
    expected = []
    for row_id, (question, answer) in zip(rows["row_id"], texts, strict=True):
        twin = first.setdefault((question, answer.strip()), row_id)
        dropped = twin != row_id
        expected.append(
            (
                row_id,
                not dropped,
                "exact_duplicate" if dropped else None,
                float(dropped),
                1.0,
                twin if dropped else None,
            )
        )
    assert list(judge(rows).iter_rows()) == expected


def test_what_is_dropped_depends_on_text_alone_not_on_ids_or_meta() -> None:
    rows = frame(
        [
            row("b", turns("q", "a"), source="one", meta='{"id": 1}'),
            row("a", turns("q", "a"), source="two", meta='{"id": 2}'),
            row("c", turns("Q", "a")),
            row("d", turns("q", "a", "q", "a")),
        ]
    )
    verdicts = judge(rows)
    assert verdicts["keep"].to_list() == [True, False, True, True]
    assert verdicts["twin_id"].to_list() == [None, "b", None, None]


def test_an_empty_pool_has_no_verdicts() -> None:
    assert judge(frame([])).height == 0
