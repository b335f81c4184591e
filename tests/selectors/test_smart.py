"""SMART: graph cut over tasks, Taylor softmax, budgets as published, facility location within."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from curate.core.store import Store
from curate.selectors.facility import represent
from curate.selectors.smart import cut_gains, shares
from curate.selectors.vectors import embed_pool, read_pool_embeddings
from tests.conftest import row, turns
from tests.selectors.poolruns import check_contract, make_run, ranked, sample_pool, scored, unit


def graph_cut(similar: NDArray[np.float64], chosen: list[int], penalty: float) -> float:
    return float(
        similar[:, chosen].sum() - penalty * sum(similar[i, j] for i in chosen for j in chosen)
    )


@pytest.mark.parametrize("penalty", [0.0, 0.4, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_gains_are_what_each_task_adds_to_the_cut_in_greedy_order(
    seed: int, penalty: float
) -> None:
    means = unit(9, 4, seed).astype(np.float64) * np.random.default_rng(seed).uniform(
        0.1, 3, (9, 1)
    )
    units = means / np.linalg.norm(means, axis=1, keepdims=True)
    similar = np.maximum(units @ units.T, 0)
    gains = cut_gains(means, penalty)
    order = np.argsort(-gains, kind="stable").tolist()
    for place, task in enumerate(order):
        before = graph_cut(similar, order[:place], penalty)
        more = [graph_cut(similar, [*order[:place], j], penalty) - before for j in order[place:]]
        assert gains[task] == pytest.approx(more[0])
        assert more[0] >= max(more) - 1e-9
    assert gains.min() >= -1e-9, "monotone up to a penalty of one half"


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_the_first_tasks_are_within_1_minus_1_over_e_of_the_best(count: int) -> None:
    means = unit(8, 3, 11).astype(np.float64)
    similar = np.maximum(means @ means.T, 0)
    order = np.argsort(-cut_gains(means, 0.4), kind="stable").tolist()
    best = max(graph_cut(similar, list(s), 0.4) for s in itertools.combinations(range(8), count))
    assert graph_cut(similar, order[:count], 0.4) >= (1 - 1 / np.e) * best


def test_a_task_without_a_vector_gains_nothing() -> None:
    assert cut_gains(np.array([[1.0, 0], [0, 0], [0, 2.0]]), 0.4).tolist() == [0.6, 0, 0.6]


def test_shares_are_the_taylor_softmax() -> None:
    np.testing.assert_allclose(shares(np.array([0.0, 1.0, 2.0])), [1 / 8.5, 2.5 / 8.5, 5 / 8.5])
    assert shares(np.array([3.7])).tolist() == [1]


def table_of(sizes: list[int], gains: list[float]) -> pl.DataFrame:
    """Return a score table whose row ids tell task and place, in mixed order."""
    rows = [
        (f"t{t:02}-{p:04}", f"t{t:02}", p, gains[t])
        for t, n in enumerate(sizes)
        for p in range(1, n + 1)
    ]
    table = pl.DataFrame(rows, schema=["row_id", "task", "place", "task_gain"], orient="row")
    return table.sample(fraction=1, shuffle=True, seed=0)


def published(weights: NDArray[np.float64], budget: int) -> list[int]:
    """Round the shares down, and give what is over to the first tasks of the greedy order."""
    counts = np.floor(weights * budget + 1e-9).astype(int)
    counts[: budget - counts.sum()] += 1
    taken: list[int] = counts.tolist()
    return taken


def published_capped(weights: NDArray[np.float64], sizes: list[int], budget: int) -> list[int]:
    """Cap the published counts at the sizes; the excess goes to tasks with room, one row in turn."""
    counts = published(weights, budget)
    excess = sum(max(n - size, 0) for n, size in zip(counts, sizes, strict=True))
    counts = [min(n, size) for n, size in zip(counts, sizes, strict=True)]
    for task in itertools.cycle(range(len(sizes))):
        if not excess:
            return counts
        if counts[task] < sizes[task]:
            counts[task] += 1
            excess -= 1
    return counts


# Of falling gains, so that the greedy order is that of the numbers.
GAINS = st.lists(st.floats(0, 6), min_size=1, max_size=12).map(lambda g: sorted(g, reverse=True))


@given(GAINS, st.data())
def test_a_budget_differs_by_at_most_a_row_from_the_published_one(
    gains: list[float], data: st.DataObject
) -> None:
    tasks = [i[:3] for i in ranked(table_of([60] * len(gains), gains), "smart")]
    weights = shares(np.array(gains))
    most = int(60 / weights.max())
    for budget in {1, data.draw(st.integers(1, most)), most}:
        counts = Counter(tasks[:budget])
        for task, published_count in enumerate(published(weights, budget)):
            assert abs(counts[f"t{task:02}"] - weights[task] * budget) < 1
            assert abs(counts[f"t{task:02}"] - published_count) <= 1


@given(st.lists(st.integers(1, 30), min_size=2, max_size=8), st.data())
def test_a_task_is_used_up_and_the_rest_is_shared(sizes: list[int], data: st.DataObject) -> None:
    """Here by weight, in the published way by one row each: a task is never worse off than capped."""
    gains = np.linspace(4, 0.5, len(sizes))
    tasks = [i[:3] for i in ranked(table_of(sizes, gains.tolist()), "smart")]
    assert Counter(tasks) == {f"t{t:02}": n for t, n in enumerate(sizes)}
    budget = data.draw(st.integers(1, sum(sizes)))
    counts = Counter(tasks[:budget])
    weights = shares(gains)
    theirs = published_capped(weights, sizes, budget)
    assert sum(counts.values()) == sum(theirs) == budget
    for task, size in enumerate(sizes):
        assert counts[f"t{task:02}"] >= min(size, int(weights[task] * budget)) - 1


def test_within_a_task_rows_come_by_their_place() -> None:
    order = ranked(table_of([20, 7, 13], [2.0, 1.0, 0.5]), "smart")
    for task in ("t00", "t01", "t02"):
        own = [i for i in order if i.startswith(task)]
        assert own == sorted(own)


def test_only_the_best_tasks_get_a_share() -> None:
    table = table_of([10, 10, 10, 20], [0.5, 3.0, 1.0, 0.2])
    tasks = [i[:3] for i in ranked(table, "smart", tasks=2)]
    assert set(tasks[:20]) == {"t01", "t02"}
    assert Counter(tasks[20:35]) == {"t00": 5, "t03": 10}, "the others by their sizes"


def test_the_order_within_a_task_is_facility_location_on_its_prompts(store: Store) -> None:
    run = make_run(store, sample_pool())
    table = scored(run, "smart", neighbours=10)
    pool = read_pool_embeddings(embed_pool(run, "prompt"))
    for task in ("cooking", "space", "music"):
        ids = [r["row_id"] for r in sample_pool() if r["origin"] == task]
        some = pool.ids.is_in(ids).to_numpy()
        order = represent(pool.vectors[some], 10)
        task_table = table.filter(task=task).sort("place")
        assert task_table["row_id"].to_list() == pool.ids.filter(some).gather(order.rows).to_list()
        np.testing.assert_allclose(task_table["score"], order.gains, rtol=1e-6)


def test_tasks_are_origins_and_else_sources(store: Store) -> None:
    rows = [row(f"r{i}", turns(f"word {i}", "a"), source="web", origin=o)
            for i, o in enumerate(["sums", None, "sums", "prose"])]  # fmt: skip
    run = make_run(store, rows)
    by_origin = scored(run, "smart").sort("row_id")
    assert by_origin["task"].to_list() == ["sums", "web", "sums", "prose"]
    assert scored(run, "smart", by="source")["task"].unique().to_list() == ["web"]


def test_alike_tasks_have_less_to_share_than_their_number(store: Store) -> None:
    """Two tasks of the same prompts and two of others: a penalty takes from the twins."""
    prompts = {
        "a": "the court judge and the verdict", "b": "the court judge and the verdict",
        "c": "a planet with a moon in orbit", "d": "bread and butter with salt",
    }  # fmt: skip
    rows = [
        row(f"{t}{i}", turns(f"{p} {i}", "x"), origin=t)
        for t, p in prompts.items()
        for i in range(3)
    ]
    run = make_run(store, rows)

    def second_twin(penalty: float) -> float:
        table = scored(run, "smart", penalty=penalty).select("task", "task_gain").unique()
        gains = dict(table.iter_rows())
        return float(min(gains["a"], gains["b"]) / sum(gains.values()))

    assert second_twin(0.5) < second_twin(0.0)
    assert run.executed_steps.count("smart-orders") == 1, "a penalty costs no order within tasks"


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "smart")
    check_contract(store, "smart", by="source", compare="example", neighbours=4, tasks=2)
