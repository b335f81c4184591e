"""The arms: controls of the same size as the selection, drawn without knowing it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.budget import BudgetLimit, BudgetOutcome, spend
from curate.core.store import Store
from curate.models.chat import build_example, tokenise
from curate.models.load import load_tokenizer
from curate.proof.arms import (
    ARMS,
    arm_runs,
    arms,
    draw_arms,
    main_control,
    round_tokens,
)
from tests.conftest import StoreRun, mean, stored_table, turns


def ranking(tokens: list[int], selected: int, shift: int = 0) -> pl.DataFrame:
    """Return a ranking whose first rows are selected; shift turns the order of ids."""
    count = len(tokens)
    order = [(i + shift) % count for i in range(count)]
    return pl.DataFrame(
        {
            "row_id": [f"r{i:03}" for i in order],
            "rank": list(range(1, count + 1)),
            "selected": [i < selected for i in range(count)],
            "tokens": [tokens[i] for i in order],
        }
    )


def ids(arms: pl.DataFrame, arm: str) -> list[str]:
    return arms.filter(arm=arm)["row_id"].to_list()


def spent(arms: pl.DataFrame, arm: str) -> int:
    return int(arms.filter(arm=arm)["tokens"].sum())


@given(st.lists(st.integers(1, 90), min_size=1, max_size=40), st.data(), st.integers(0, 9))
def test_controls_are_as_large_as_the_selection(
    tokens: list[int], data: st.DataObject, number: int
) -> None:
    table = ranking(tokens, data.draw(st.integers(1, len(tokens))))
    arms = draw_arms(table, [0, number])
    tokens_by_id = dict(table.select("row_id", "tokens").iter_rows())
    assert arms["arm"].unique(maintain_order=True).to_list() == list(ARMS)
    assert arms["seed"].unique().to_list() == [number]
    for arm in ARMS:
        assert len(set(ids(arms, arm))) == len(ids(arms, arm)), "drawn without replacement"
    assert all(tokens_by_id[i] == t for i, t in arms.select("row_id", "tokens").iter_rows())
    assert ids(arms, "selected") == table.filter("selected")["row_id"].to_list()
    assert len(ids(arms, "random_rows")) == len(ids(arms, "selected"))
    left = [t for i, t in tokens_by_id.items() if i not in set(ids(arms, "random_tokens"))]
    total = min(round_tokens(spent(arms, "selected")), sum(tokens))
    assert spent(arms, "selected") <= total <= 1.02 * spent(arms, "selected") + 1
    missing = total - spent(arms, "random_tokens")
    assert missing >= 0
    assert missing < max(left, default=1), "one more row would have fitted"


HEAVY: dict[str, Callable[[np.random.Generator, int], NDArray[Any]]] = {
    "log-normal": lambda rng, count: rng.lognormal(3.5, 1.5, count),
    "Pareto": lambda rng, count: (rng.pareto(1.05, count) + 1) * 20,
    "a few long": lambda rng, count: np.where(rng.random(count) < 0.03, 9_000, 40),
}


@pytest.mark.parametrize("kind", HEAVY)
@given(
    seed=st.integers(0, 5_000), count=st.integers(60, 300), share=st.floats(0.05, 0.5),
    best=st.sampled_from(["longest", "shortest", "any"]),
)  # fmt: skip
def test_random_tokens_are_as_many_but_for_two_per_cent_in_heavy_tailed_pools(
    kind: str, seed: int, count: int, share: float, best: str
) -> None:
    rng = np.random.default_rng(seed)
    tokens = np.maximum(HEAVY[kind](rng, count), 3).astype(int)
    order = {"longest": -tokens, "shortest": tokens, "any": rng.permutation(count)}[best]
    chosen = max(round(share * count), 3)
    table = ranking(tokens[np.argsort(order)].tolist(), chosen)
    arms = draw_arms(table, [seed, 0])
    chosen_tokens, got = spent(arms, "selected"), spent(arms, "random_tokens")
    assert len(set(ids(arms, "random_tokens"))) == len(ids(arms, "random_tokens"))
    assert 0.98 * chosen_tokens <= got <= 1.02 * chosen_tokens + 1
    assert arms.equals(draw_arms(table, [seed, 0])), "the seed alone decides"


def test_random_tokens_hold_more_long_rows_than_passing_over_what_does_not_fit() -> None:
    """As many random rows hold a tenth of them; a draw that is filled up loses a quarter of these."""
    tokens = np.sort(np.random.default_rng(3).lognormal(4, 1.2, 500)).astype(int)
    table = ranking(tokens.tolist(), 0).with_columns(selected=pl.int_range(500) % 25 == 16)
    total, rows = sum(table.filter("selected")["tokens"].to_list()), table.filter("selected").height
    assert total == pytest.approx(tokens.mean() * rows, rel=0.05)
    long = np.quantile(tokens, 0.9)
    filled: list[int] = []
    for number in range(200):
        order = np.random.default_rng(number).permutation(tokens)
        filled.extend(order[spend(order, BudgetLimit(total, 0.02 * total)) == BudgetOutcome.TAKEN])
    drawn = pl.concat(draw_arms(table, [0, number]) for number in range(200))
    share = mean(drawn.filter(arm="random_tokens")["tokens"] > long)
    assert np.mean(np.array(filled) > long) < 0.075 < 0.078 < share < 0.1


TOKENS = np.random.default_rng(0).integers(5, 60, 80).tolist()


def test_the_selection_is_the_same_under_every_seed_and_controls_are_not() -> None:
    drawn = [draw_arms(ranking(TOKENS, 20), [0, number]) for number in range(5)]
    assert len({tuple(ids(arms, "selected")) for arms in drawn}) == 1
    for control in ("random_rows", "random_tokens"):
        assert len({tuple(ids(arms, control)) for arms in drawn}) == 5
    other = draw_arms(ranking(TOKENS, 20), [1, 0])
    assert ids(other, "random_rows") != ids(drawn[0], "random_rows")


def test_controls_do_not_depend_on_the_ranking_they_are_controls_for() -> None:
    one, two = ranking(TOKENS, 20), ranking(TOKENS, 20, shift=33)
    assert ids(draw_arms(one, [0, 0]), "selected") != ids(draw_arms(two, [0, 0]), "selected")
    assert ids(draw_arms(one, [0, 0]), "random_rows") == ids(draw_arms(two, [0, 0]), "random_rows")


def test_every_ranked_row_is_as_likely_in_a_control_chosen_or_not() -> None:
    """Of 10 rows 4 are drawn 300 times: each about 120 times (chi-square, 9 degrees, 0.1 %)."""
    seen = dict.fromkeys([f"r{i:03}" for i in range(10)], 0)
    for number in range(300):
        for row_id in ids(draw_arms(ranking([7] * 10, 4), [0, number]), "random_rows"):
            seen[row_id] += 1
    assert sum(seen.values()) == 1200
    assert sum((n - 120) ** 2 / 120 for n in seen.values()) < 27.9


def test_selections_of_nearly_one_size_share_their_controls() -> None:
    """Another method, 40 rows of the same kept ones with half a per cent more tokens: the same draws."""
    tokens = [50] * 80
    one = draw_arms(ranking(tokens, 40), [0, 0])
    two = draw_arms(ranking([*tokens[:39], 55, *tokens[40:]], 40, shift=0), [0, 0])
    assert spent(two, "selected") > spent(one, "selected")
    for control in ("random_rows", "random_tokens"):
        assert ids(one, control) == ids(two, control)


@given(st.integers(1, 10**9))
def test_tokens_are_rounded_by_less_than_two_per_cent(tokens: int) -> None:
    assert tokens <= round_tokens(tokens) <= 1.02 * tokens + 1
    assert round_tokens(round_tokens(tokens)) <= 1.02 * tokens + 2, "a step stays what it is"


@pytest.mark.parametrize(
    ("draws", "by_tokens", "runs"),
    [
        (9, False, {"selected": 2, "random_rows": 9, "random_tokens": 3}),
        (9, True, {"selected": 2, "random_tokens": 9, "random_rows": 3}),
        (2, False, {"selected": 2, "random_rows": 2, "random_tokens": 2}),
    ],
)
def test_the_control_that_is_counted_like_the_budget_is_drawn_most_often(
    draws: int, by_tokens: bool, runs: dict[str, int]
) -> None:
    counted = arm_runs(draws, 2, by_tokens=by_tokens)
    assert counted == runs
    assert main_control(counted) == ("random_tokens" if by_tokens and draws > 3 else "random_rows")


@pytest.mark.parametrize("runs", [(1, 5, 3), (3, 2, 2)])
def test_the_step_draws_every_arm_as_often_as_it_is_trained(
    store: Store, runs: tuple[int, ...]
) -> None:
    table, counts = ranking(TOKENS, 20), dict(zip(ARMS, runs, strict=True))
    drawn_arms = StoreRun(store)(arms, stored_table(store, "ranking", table), counts, 5, 40)
    rows = drawn_arms.read()
    # Rows are trained on up to 40 tokens.
    trained = table.with_columns(pl.col("tokens").clip(upper_bound=40))
    for number in range(max(runs)):
        drawn = draw_arms(trained, [5, number])
        for arm, count in counts.items():
            expected = drawn.filter(arm=arm) if number < count else drawn.clear()
            assert rows.filter(arm=arm, seed=number).equals(expected)
    assert rows["tokens"].max() == 40
    assert drawn_arms.artifact.counts == {"rows_in": 80, "rows_out": rows.height}


def test_tokens_are_counted_as_the_fine_tune_reads_them(tiny: Path) -> None:
    tokenizer = load_tokenizer(tiny)
    rows = [turns("Turn one", "word " * count) for count in (1, 9, 80)]
    counted = [min(len(ids), 20) for ids in tokenise(tokenizer, rows, None)]
    read = [len(build_example(tokenizer, messages, 20).ids) for messages in rows]
    assert counted == read
    assert max(counted) == 20
