"""Combinations of values: what records hold, and the greedy choice against a plain computation."""

from __future__ import annotations

import itertools
import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.errors import UserError
from curate.generate.combinations import name_combinations, read_fields

FIELDS = ("topic", "level")


def pool_of(metas: Sequence[dict[str, Any]]) -> pl.LazyFrame:
    lines = [{"row_id": f"r{i:02}", "meta": json.dumps(meta)} for i, meta in enumerate(metas)]
    return pl.LazyFrame(lines, schema={"row_id": pl.String, "meta": pl.String})


def chosen(metas: Sequence[dict[str, Any]], count: int, **more: list[str]) -> list[tuple[str, ...]]:
    fields = read_fields(pool_of(metas), FIELDS, more)
    named = name_combinations(fields, count, np.random.default_rng(0))
    return [tuple(one.values()) for one in named]


def test_records_hold_values_and_lists_of_them() -> None:
    metas: list[dict[str, Any]] = [
        {"topic": "sums, and more", "level": 3},
        {"topic": ["tides", "sums, and more", "tides"]},
        {"topic": "", "level": None},
        {"topic": [], "other": 1},
        {"level": "high"},
    ]
    fields = read_fields(pool_of(metas), FIELDS, {"level": ["low"]})
    assert fields.values == {"topic": ["sums, and more", "tides"], "level": ["3", "high", "low"]}
    rows = {line["row_id"]: line for line in fields.rows.to_dicts()}
    assert sorted(rows) == ["r00", "r01", "r04"]
    assert rows["r00"]["level"] == ["3"]
    assert sorted(rows["r01"]["topic"]) == ["sums, and more", "tides"]
    assert rows["r04"]["topic"] is None


def test_lists_of_anything_hold_values() -> None:
    lists: list[Any] = [[None, "b", "a", ""], ["b", "b"], [["x"], {"k": 1}, 2, True], "[b]", [None]]
    fields = read_fields(pool_of([{"topic": one} for one in lists]), ["topic"], {})
    assert fields.rows["topic"].to_list() == [
        ["b", "a"],
        ["b"],
        ['["x"]', '{"k":1}', "2", "true"],
        ["[b]"],
    ]


def test_what_is_absent_comes_before_what_is_rare() -> None:
    metas = [
        *[{"topic": "a", "level": "x"}] * 3,
        *[{"topic": "b", "level": "y"}] * 3,
        {"topic": "a", "level": "y"},
    ]
    assert chosen(metas, 1) == [("b", "x")]
    # A value that no row has is the most absent of all.
    assert {topic for topic, _ in chosen(metas, 2, topic=["c"])} == {"c"}


PAIRS = st.tuples(st.sampled_from("abc"), st.sampled_from("xy"))


def distance(rows: Sequence[tuple[str, ...]], sizes: Sequence[int]) -> float:
    """The distance to an even mixture, by its definition."""
    columns = [*zip(*rows, strict=True), rows]
    squares = []
    for column, size in zip(columns, [*sizes, math.prod(sizes)], strict=True):
        shares = [count / len(rows) for count in Counter(column).values()]
        squares.append((-sum(p * math.log(p) for p in shares) - math.log(size)) ** 2)
    return sum(squares)


@given(st.lists(PAIRS, min_size=1, max_size=12), st.integers(1, 6))
def test_each_choice_is_the_best_there_is(pairs: list[tuple[str, str]], count: int) -> None:
    rows: list[tuple[str, ...]] = list(pairs)
    values = [sorted(set(column)) for column in zip(*pairs, strict=True)]
    sizes = [len(names) for names in values]
    metas = [dict(zip(FIELDS, pair, strict=True)) for pair in pairs]
    for one in chosen(metas, count):
        best = min(distance([*rows, other], sizes) for other in itertools.product(*values))
        rows.append(one)
        assert distance(rows, sizes) == pytest.approx(best, abs=1e-9)


def test_an_even_pool_is_filled_evenly() -> None:
    metas = [{"topic": t, "level": v} for t in "ab" for v in "xyz"]
    assert Counter(chosen(metas, 12)) == dict.fromkeys(itertools.product("ab", "xyz"), 2)


def test_a_field_that_no_record_has_is_an_error_unless_values_are_given() -> None:
    metas = [{"topic": "a"}, {"topic": "b"}]
    with pytest.raises(UserError, match=r"no row of the pool has a value of 'level'"):
        chosen(metas, 1)
    assert sorted(chosen(metas, 2, level=["x"])) == [("a", "x"), ("b", "x")]
    many = [{"topic": str(i), "level": str(i)} for i in range(150)]
    with pytest.raises(
        UserError, match=r"22,500 combinations of topic, level are more than 20,000"
    ):
        chosen(many, 1)
