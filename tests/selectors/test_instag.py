"""InsTag's rounds against plain passes over the rows; coverage, ties, rows without tags."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table
from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.instag import InstagSelector, deal_rounds
from tests.conftest import row, stored_table, turns
from tests.selectors.poolruns import PoolRun, make_run

tag_sets = st.lists(st.sets(st.sampled_from("abcdefg"), max_size=4), max_size=30)


def lists(rows: Sequence[Sequence[str]]) -> pl.Series:
    return pl.Series(rows, dtype=pl.List(pl.String))


def plain_rounds(rows: Sequence[Sequence[str]]) -> list[int]:
    """Return what the paper's passes over the rows take."""
    rounds = [0] * len(rows)
    for number in range(1, len(rows) + 1):
        covered: set[str] = set()
        for k, tags in enumerate(rows):
            if not rounds[k] and set(tags) - covered:
                rounds[k] = number
                covered |= set(tags)
    return rounds


@given(tag_sets)
def test_rounds_are_those_of_plain_passes(sets: list[set[str]]) -> None:
    rows = [sorted(tags) for tags in sorted(sets, key=len, reverse=True)]
    assert deal_rounds(lists(rows)).tolist() == plain_rounds(rows)


@given(tag_sets)
def test_a_round_covers_all_tags_that_are_left(sets: list[set[str]]) -> None:
    rows = [sorted(tags) for tags in sets]
    rounds = deal_rounds(lists(rows))
    for number in range(1, max(rounds, default=0) + 1):
        left = {t for k, tags in enumerate(rows) if rounds[k] >= number for t in tags}
        assert {t for k, tags in enumerate(rows) if rounds[k] == number for t in tags} == left


def test_the_example_of_the_page() -> None:
    rows = [list(w) for w in ("abc", "ab", "bd", "d", "a")]
    assert deal_rounds(lists(rows)).tolist() == [1, 2, 1, 2, 3]


def run_of(store: Store, tags: Sequence[str | None]) -> PoolRun:
    run = make_run(store, [row(f"r{i}", turns(f"q{i}", "a")) for i in range(len(tags))])
    frame = pl.DataFrame(
        {"row_id": [f"r{i}" for i in range(len(tags))], "tags": tags, "score": [1.0] * len(tags)},
        schema={"row_id": pl.String, "tags": pl.String, "score": pl.Float64},
    )
    run.evidence = {"tags": stored_table(store, "tags", frame.reverse())}
    return run


def ranked(run: PoolRun) -> tuple[list[str], pl.DataFrame]:
    selector = InstagSelector(budget={"rows": 1})
    scores = selector.score_rows(run).read()
    return scores["row_id"].gather(selector.rank(scores, 0)).to_list(), scores


def test_most_tags_come_first_and_ties_go_to_the_smaller_id(store: Store) -> None:
    order, scores = ranked(run_of(store, ["a; b", "c", "", "a; b; c", "d; a", None, "c; c;"]))
    # Round 1: r3 has abc, r4 brings d. Round 2: r0 has ab, r1 brings c. Round 3: r6.
    assert order == ["r3", "r4", "r0", "r1", "r6", "r2", "r5"]
    by_id = scores.sort("row_id")
    assert by_id["score"].to_list() == [2, 1, 0, 3, 2, None, 1]
    assert by_id["round"].to_list() == [2, 2, None, 1, 1, None, 3]
    unscored = InstagSelector(budget={"rows": 1}).unscored(by_id)
    assert unscored.to_list() == [None] * 5 + ["no tags", None]


def test_a_column_that_is_none_is_told(store: Store) -> None:
    run = run_of(store, ["a"])
    for tags, message in (
        ("other.tags", "select.tags: .*no stage 'other'"),
        ("tags.words", "no column 'words'"),
    ):
        with pytest.raises(UserError, match=message):
            InstagSelector(budget={"rows": 1}, tags=tags).score_rows(run)
    with pytest.raises(UserError, match="no column of a stage"):
        InstagSelector(budget={"rows": 1}, tags="meta.tags").score_rows(run)
    assert isinstance(run.evidence["tags"], Table)
