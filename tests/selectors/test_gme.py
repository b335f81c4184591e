"""Greedy maximum entropy: the published numbers, greedy at every step, and even mixtures."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from curate.core.entropy import entropies_after
from curate.core.errors import UserError
from curate.core.store import Store
from curate.selectors.gme import GmeSelector, find_kinds, make_bags, mix_evenly
from tests.conftest import row, turns
from tests.selectors.poolruns import (
    check_contract,
    make_run,
    ranked,
    sample_pool,
    scored,
    selector_of,
)


def entropy(values: Sequence[Any]) -> float:
    """Return the entropy of a list of values, from shares and logarithms."""
    counts = Counter(values)
    return -sum(n / len(values) * float(np.log(n / len(values))) for n in counts.values())


def test_the_numbers_of_the_published_test() -> None:
    candidates = make_bags([[0, 1, 2, 3, 4], [1, 2, 3, 4], [1, 2]])
    counts = np.array([0, 0, 1, 2, 0])
    entropies = entropies_after(counts, candidates.values[1:], candidates.times[1:])
    assert entropies.round(5).tolist() == [1.27703, 1.05492]


BAGS = st.lists(st.lists(st.integers(0, 5), min_size=1, max_size=4), min_size=1, max_size=12)


@given(BAGS, st.lists(st.integers(0, 11), max_size=20))
def test_entropies_are_those_of_the_shares(lists: list[list[int]], chosen: list[int]) -> None:
    """Values may repeat in a row, and each time counts."""
    bags = make_bags(lists)
    counts = np.zeros(bags.distinct, dtype=np.int64)
    before: list[int] = []
    for i in chosen:
        kind = i % len(lists)
        np.add.at(counts, bags.values[kind], bags.times[kind])
        before += lists[kind]
    expected = [entropy([*before, *values]) for values in lists]
    np.testing.assert_allclose(
        entropies_after(counts, bags.values, bags.times), expected, atol=1e-9
    )


def distance(rows: Sequence[int], attributes: Sequence[Sequence[Sequence[str]]]) -> float:
    """Return how far the rows are from an even mixture, computed from scratch."""
    gaps = []
    for values in attributes:
        chosen = [v for i in rows for v in values[i]]
        gaps.append(entropy(chosen) - np.log(len({v for some in values for v in some})))
    return float(np.linalg.norm(gaps))


def random_table(seed: int, count: int = 40) -> list[list[list[str]]]:
    """Return three attributes of rows; the last one has up to three values a row."""
    rng = np.random.default_rng(seed)
    return [
        [[str(v)] for v in rng.choice(4, size=count, p=[0.6, 0.2, 0.1, 0.1])],
        [[str(v)] for v in rng.choice(3, size=count, p=[0.8, 0.1, 0.1])],
        [[str(v) for v in rng.integers(0, 5, size=rng.integers(1, 4))] for _ in range(count)],
    ]


def kinds_of(attributes: list[list[list[str]]]) -> tuple[Any, Any]:
    names = {f"a{i}": pl.Series(v, dtype=pl.List(pl.String)) for i, v in enumerate(attributes)}
    return find_kinds(pl.DataFrame(names))


@pytest.mark.parametrize("approx", [None, 1_000])
@pytest.mark.parametrize("seed", range(3))
def test_no_row_that_is_left_would_be_better(seed: int, approx: int | None) -> None:
    attributes = random_table(seed)
    kinds, bags = kinds_of(attributes)
    mixed = mix_evenly(kinds, bags, approx, np.random.default_rng(0))
    rows = mixed.rows.tolist()
    assert sorted(rows) == list(range(40))
    for place in range(40):
        tried = {i: distance([*rows[:place], i], attributes) for i in rows[place:]}
        assert mixed.distance[place] == pytest.approx(tried[rows[place]], abs=1e-9)
        assert tried[rows[place]] <= min(tried.values()) + 1e-9


def test_of_equally_good_rows_the_first_comes_first() -> None:
    attributes = [[["a"], ["a"], ["b"], ["b"], ["a"], ["b"]]]
    mixed = mix_evenly(*kinds_of(attributes), None, np.random.default_rng(0))
    assert mixed.rows.tolist() == [0, 2, 1, 3, 4, 5]
    np.testing.assert_allclose(mixed.distance[[0, 1, 3, 5]], [np.log(2), 0, 0, 0], atol=1e-12)


def test_one_random_row_tried_is_a_random_order() -> None:
    kinds, bags = kinds_of([[["a"]] * 3 + [["b"]]])
    firsts = Counter(
        int(mix_evenly(kinds, bags, 1, np.random.default_rng(seed)).rows[0]) for seed in range(800)
    )
    assert all(150 < firsts[i] < 250 for i in range(4))


def test_more_random_rows_come_nearer_to_an_even_mixture() -> None:
    kinds, bags = kinds_of(random_table(7, count=300))
    ends = [
        np.mean([mix_evenly(kinds, bags, m, np.random.default_rng(s)).distance[59] for s in (0, 1)])
        for m in (1, 5, 40)
    ]
    assert ends[0] > ends[1] > ends[2]


def lopsided(count: int = 100) -> list[dict[str, Any]]:
    """Return rows of which nine in ten are of one source, all of one length."""
    return [
        row(f"r{i:03}", turns("question?", "answer"), source="rare" if i % 10 == 0 else "usual")
        for i in range(count)
    ]


def test_sources_are_balanced_as_long_as_there_are_rows(store: Store) -> None:
    run = make_run(store, lopsided())
    table = scored(run, "gme", attributes=["source", "length"])
    order = ranked(table, "gme")
    rare = [order.index(f"r{i:03}") for i in range(0, 100, 10)]
    assert max(rare) < 20
    by_place = table.sort("place")
    assert max(by_place["distance"][1::2][:10]) < 1e-12
    assert (by_place["score"][20:] < 0).all(), "entropy falls when one source is all that is left"
    assert by_place["score"].sum() == pytest.approx(np.log(2) - by_place["distance"][-1], abs=1e-5)


def test_lengths_are_powers_of_two_of_tokens(store: Store) -> None:
    sizes = [1, 2, 3, 4, 7, 8, 9, 15, 16]
    rows = [row(f"r{i}", turns("q" * (n - 1), "a")) for i, n in enumerate(sizes, start=0) if n > 1]
    table = scored(make_run(store, rows), "gme", attributes=["length"])
    first = {sizes[int(i[1:])].bit_length() for i in ranked(table, "gme")[:4]}
    assert first == {2, 3, 4, 5}


def test_fields_of_the_records_have_a_value_or_several(store: Store) -> None:
    metas: list[dict[str, Any]] = [
        {"tags": ["sums", "sums"]}, {"tags": ["sums"]}, {"tags": "sums"}, {"tags": ["prose", 7]},
        {"tags": []}, {"tags": None}, {},
    ]  # fmt: skip
    rows = [row(f"r{i}", turns("q", "a"), meta=json.dumps(m)) for i, m in enumerate(metas)]
    run = make_run(store, rows)
    scores = selector_of("gme", attributes=["meta.tags"]).score_rows(run)
    assert scores.artifact.counts["values"] == {"meta.tags": 4}, "sums, prose, 7 and none"
    assert ranked(scores.read(), "gme")[0] == "r3", "two values at once"
    with pytest.raises(UserError, match="no row has a field 'language' in its meta"):
        scored(run, "gme", attributes=["source", "meta.language"])


@pytest.mark.parametrize("settings", [{}, {"approx": 5}])
def test_the_seed_decides_between_equals(store: Store, settings: dict[str, Any]) -> None:
    rows = sample_pool()
    orders = [
        ranked(scored(make_run(store, rows, seed=seed), "gme", **settings), "gme", **settings)
        for seed in (0, 0, 1)
    ]
    assert orders[0] == orders[1] != orders[2]


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        (["topic"], "'topic' is none of source, origin, length, meta.FIELD and STAGE.COLUMN"),
        (["meta."], "'meta.' is none of"),
        (["source", "source"], "each attribute can be named once"),
        ([], "at least 1 item"),
    ],
)
def test_attributes_that_make_no_sense(attributes: list[str], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        GmeSelector.model_validate({"budget": {"rows": 1}, "attributes": attributes})


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "gme")
    check_contract(store, "gme", approx=4, attributes=["origin"])
