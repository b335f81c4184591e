"""Random: seeded, uniform, and blind to the order of the pool."""

from __future__ import annotations

import itertools
from collections import Counter

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.selectors.random import RandomSelector

SELECTOR = RandomSelector.model_validate({"budget": {"rows": 1}})


def ranked(ids: list[str], seed: int) -> list[str]:
    frame = pl.DataFrame({"row_id": ids}, schema={"row_id": pl.String})
    return frame["row_id"].gather(SELECTOR.rank(frame, seed)).to_list()


@given(st.lists(st.text("abc", min_size=1, max_size=4), unique=True), st.integers(0, 2**40))
def test_the_draw_is_a_permutation_that_does_not_depend_on_pool_order(
    ids: list[str], seed: int
) -> None:
    order = ranked(ids, seed)
    assert sorted(order) == sorted(ids)
    assert ranked(ids[::-1], seed) == order
    assert ranked(ids, seed) == order


def test_seeds_draw_differently() -> None:
    ids = [f"r{i:03}" for i in range(100)]
    assert len({tuple(ranked(ids, seed)) for seed in range(20)}) == 20


def test_every_order_is_equally_likely() -> None:
    """24 orders of 4 rows under 600 seeds: chi-square with 23 degrees below its 0.1 % point."""
    seen = Counter(tuple(ranked(list("abcd"), seed)) for seed in range(600))
    assert set(seen) == set(itertools.permutations("abcd"))
    assert sum((n - 25) ** 2 / 25 for n in seen.values()) < 49.7
