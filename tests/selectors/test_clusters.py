"""Cluster-balanced: found clusters, turns by hand, nearest or random within."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.core.store import Store
from curate.selectors.clusters import find_clusters
from tests.selectors.poolruns import (
    check_contract,
    clumps,
    make_run,
    ranked,
    sample_pool,
    scored,
    unit,
)


def table_of(clusters: list[int], scores: list[float]) -> pl.DataFrame:
    ids = [f"r{(i * 7) % 101:03}" for i in range(len(clusters))]
    return pl.DataFrame({"row_id": ids, "cluster": clusters, "score": scores})


def turns_by_hand(table: pl.DataFrame) -> list[str]:
    """Let clusters take turns, the largest first, each naming its best row that is left."""
    left: dict[int, list[tuple[float, str]]] = {}
    for row_id, cluster, score in table.iter_rows():
        left.setdefault(cluster, []).append((-score, row_id))
    order = sorted(left, key=lambda c: (-len(left[c]), c))
    for some in left.values():
        some.sort()
    ids: list[str] = []
    while any(left.values()):
        ids += [left[cluster].pop(0)[1] for cluster in order if left[cluster]]
    return ids


@given(
    st.lists(
        st.tuples(st.integers(0, 5), st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=40
    )
)
def test_clusters_take_turns_nearest_row_first(rows: list[tuple[int, float]]) -> None:
    table = table_of([c for c, _ in rows], [s for _, s in rows])
    assert ranked(table, "clusters") == turns_by_hand(table)
    chance = ranked(table, "clusters", within="random")
    own = dict(table.select("row_id", "cluster").iter_rows())
    assert [own[i] for i in chance] == [own[i] for i in turns_by_hand(table)]


def test_within_a_cluster_the_seed_draws_every_order() -> None:
    table = table_of([0] * 4, [0.1, 0.2, 0.3, 0.4])
    orders = [tuple(ranked(table, "clusters", seed, within="random")) for seed in range(400)]
    assert len(set(orders)) == 24
    assert len({tuple(ranked(table, "clusters", seed)) for seed in range(5)}) == 1


def test_planted_clumps_are_found() -> None:
    sizes = [200, 100, 60, 40, 20, 12, 8]
    clump = np.repeat(np.arange(7), sizes)
    vectors = clumps(sizes, 32, 0.1, 0)
    own, cosines = find_clusters(vectors, 20)
    usual = sum(np.bincount(clump[own == cluster]).max() for cluster in np.unique(own))
    assert usual > 0.95 * len(vectors)
    assert (cosines > 0.9).mean() > 0.9


def test_the_same_vectors_give_the_same_clusters() -> None:
    vectors = unit(500, 8, 1)
    for one, other in zip(find_clusters(vectors, 9), find_clusters(vectors, 9), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_cosine_is_to_the_mean_direction_of_the_nearest_cluster() -> None:
    """But for the last move of the centres, after which rows are assigned once more."""
    vectors = unit(400, 8, 0)
    own, cosines = find_clusters(vectors, 5)
    means = np.stack([vectors[own == c].mean(axis=0) for c in range(5)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    np.testing.assert_allclose(cosines, (vectors @ means.T)[np.arange(400), own], atol=0.1)
    assert ((vectors @ means.T).argmax(axis=1) == own).mean() > 0.95


@pytest.mark.parametrize(("settings", "clusters"), [({}, 8), ({"clusters": 3}, 3)])
def test_the_number_of_clusters(store: Store, settings: dict[str, Any], clusters: int) -> None:
    table = scored(make_run(store, sample_pool(64)), "clusters", **settings)
    assert table["cluster"].n_unique() == clusters
    first = ranked(table, "clusters")[:clusters]
    assert table.filter(pl.col("row_id").is_in(first))["cluster"].n_unique() == clusters


@pytest.mark.parametrize("clusters", [2, 5, 99])
def test_a_pool_smaller_than_the_number_of_clusters(store: Store, clusters: int) -> None:
    table = scored(make_run(store, sample_pool(5)), "clusters", clusters=clusters)
    assert len(ranked(table, "clusters")) == 5


def test_within_costs_no_step(store: Store) -> None:
    run = make_run(store, sample_pool())
    for within in ("nearest", "random"):
        scored(run, "clusters", within=within)
    assert run.executed_steps == ["embed", "score-clusters"]


def test_what_all_selectors_keep_to(store: Store) -> None:
    check_contract(store, "clusters")
    check_contract(store, "clusters", clusters=4, within="random", compare="prompt")
