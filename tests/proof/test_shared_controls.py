"""Controls that selections share: drawn at the ends of their sizes, interpolated between."""

from __future__ import annotations

import math
from collections.abc import Sequence

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.calls import Table
from curate.core.selectparams import Budget
from curate.core.store import Store
from curate.proof.arms import Sizes
from curate.proof.shared_controls import SharedControls, group_sizes, interpolate, share_controls
from tests.conftest import stored_table
from tests.proof.test_arms import ranking
from tests.proof.test_proof import run_proof

SIZES = st.dictionaries(st.text("abc", min_size=1), st.integers(1, 9_999), min_size=1, max_size=9)


@given(SIZES, st.floats(1, 9_999))
def test_two_sizes_at_most_are_drawn_and_every_selection_lies_within_its_end(
    sizes: dict[str, int], middle: float
) -> None:
    shared = interpolate(sizes, middle)
    assert len({end for end, _ in shared.values()}) <= 2
    for name, (end, weight) in shared.items():
        assert 0 <= weight <= 1
        assert (weight == 1) == (end == sizes[name])
        assert min(middle, end) <= sizes[name] <= max(middle, end)


def test_a_selection_alone_has_controls_of_its_own_size() -> None:
    assert interpolate({"rds": 700}, 1_000.0) == {"rds": (700, 1.0)}


def test_the_share_goes_with_the_logarithm_of_the_size() -> None:
    shared = interpolate({"a": 2_000, "b": 4_000, "c": 500, "d": 707}, 1_000.0)
    size, share = shared["a"]
    assert size == 4_000
    assert share == pytest.approx(0.5)
    assert shared["b"] == (4_000, 1.0)
    assert shared["c"] == (500, 1.0)
    size, share = shared["d"]
    assert size == 500
    assert share == pytest.approx(math.log(0.707) / math.log(0.5))


def test_token_budgets_whose_selections_lie_one_rounding_step_apart_share_the_larger_draws() -> (
    None
):
    sizes = {"a": Sizes(9, 1_000), "b": Sizes(7, 1_019), "c": Sizes(3, 400)}
    assert group_sizes(sizes, by_tokens=True) == {1_019: {"b": 7, "a": 9}, 400: {"c": 3}}
    assert group_sizes(sizes, by_tokens=False) == {9: {"a": 1_000}, 7: {"b": 1_019}, 3: {"c": 400}}


def selections(store: Store) -> dict[str, tuple[Table, Budget]]:
    """Return four selections of five rows: their rows have from 10 to 80 tokens each."""
    lengths = [10] * 5 + [20] * 5 + [40] * 5 + [80] * 5
    tables = {
        name: ranking(lengths, 20).with_columns(selected=_between(start, start + 5))
        for name, start in (("short", 0), ("middle", 5), ("long", 10), ("longest", 15))
    }
    return {
        name: (stored_table(store, "ranking", table), Budget(rows=5))
        for name, table in tables.items()
    }


def _between(start: int, end: int) -> pl.Expr:
    return pl.int_range(pl.len()).is_between(start, end, closed="left")


def test_four_methods_draw_the_control_of_another_size_at_two_sizes(store: Store) -> None:
    shared = share_controls(selections(store), max_length=64)
    assert {c.sizes.rows for c in shared.values()} == {5}
    assert len({c.sizes.tokens for c in shared.values()}) == 2
    assert {name for name, c in shared.items() if c.weight == 1} == {"short", "longest"}
    assert shared["long"].sizes == shared["longest"].sizes
    assert shared["longest"].sizes.tokens <= 1.05 * 5 * 64, "rows are cut before they are counted"


def read_tokens(ids: Sequence[str]) -> float:
    """Every doubling of the tokens lowers the loss by as much."""
    return 2.0 - 0.2 * math.log2(1 + sum(20 if i.startswith("g") else 10 for i in ids))


def test_an_interpolated_control_tells_what_one_of_the_own_size_does(store: Store) -> None:
    def lengths(i: int) -> int:
        return 20 if i < 10 else 10

    own, _, _ = run_proof(store, read_tokens, tokens=lengths)
    middle, size, end = 10 * 12.5, 204, 400
    weight = math.log(size / middle) / math.log(end / middle)
    controls = SharedControls(Sizes(10, end), weight, size)
    shared, _, _ = run_proof(store, read_tokens, tokens=lengths, controls=controls)
    by_rows, by_tokens = ([c[i] for c in (p["comparisons"] for p in (own, shared))] for i in (0, 1))
    assert by_rows[0] == by_rows[1], "the main control is the same"
    assert by_tokens[0]["mean_difference"] == pytest.approx(
        by_tokens[1]["mean_difference"], abs=0.03
    )
    assert shared["shared_control"]["sentence"].startswith(
        "The control with about as many tokens was drawn with 400 tokens, for all methods"
    )
    assert "shared_control" not in own
