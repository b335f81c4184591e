"""Embedding similarity: cosines against a plain loop, the three ways to combine them, planted rows."""

from __future__ import annotations

import random

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from curate.core.errors import UserError
from curate.core.store import Store
from curate.models.embed import embed_texts
from curate.selectors.embed import scores
from curate.selectors.rounds import best_first, round_robin
from tests.selectors.targetruns import (
    bundled_run,
    embedded,
    keep,
    precision,
    rank_frame,
    ranked,
    scores_of,
    target_run,
    unit_vectors,
)

Matrix = NDArray[np.float32]
COMBINE = ["round_robin", "global_max", "mean"]
POOL = {
    "b": "Book a table for two at eight",
    "d": "The train leaves at noon",
    "a": "Reserve a table tonight",
    "c": "Prove that the sum of angles is 180 degrees",
}


def test_scores_are_the_cosines_of_every_row_with_every_example(store: Store) -> None:
    vectors, targets = unit_vectors((25, 6), 0), unit_vectors((4, 6), 1)
    table = scores(embedded(store, vectors, targets, [3, 4, 20])).result
    assert table["row_id"].to_list() == [f"r{i:03}" for i in range(25)]
    for i, line in enumerate(table.iter_rows(named=True)):
        cosines = [float(np.dot(vectors[i].astype(float), w)) for w in targets.astype(float)]
        np.testing.assert_allclose(line["similarities"], cosines, atol=2e-6)
        assert line["score"] == pytest.approx(max(cosines), abs=2e-6)
        assert line["nearest_id"] == f"t{int(np.argmax(cosines))}"


def test_texts_are_those_of_the_kept_rows_and_of_the_examples(store: Store) -> None:
    run = target_run(store, POOL, ["Please book a table", "When does the train leave?"])
    keep(run, [0, 1, 3])
    table = scores_of(run, "embed", compare="prompt")
    assert table["row_id"].to_list() == ["b", "d", "c"]
    vectors = embed_texts([POOL[i] for i in table["row_id"]], "static")
    targets = embed_texts(["Please book a table", "When does the train leave?"], "static")
    np.testing.assert_allclose(table["similarities"].to_numpy(), vectors @ targets.T, atol=2e-6)
    assert table["nearest_id"].to_list()[:2] == ["t0", "t1"]


def test_every_example_in_the_pool_comes_back_first_for_itself(store: Store) -> None:
    target = ["Please book a table", "When does the train leave?"]
    run = target_run(store, {**POOL, "y": target[0], "z": target[1]}, target)
    assert ranked(run, "embed")[:2] == ["y", "z"]
    table = scores_of(run, "embed")
    own = table.filter(pl.col("row_id").is_in(["y", "z"]))
    np.testing.assert_allclose(own["score"], 1, atol=1e-6)


MATRICES = st.tuples(st.integers(1, 12), st.integers(1, 4)).flatmap(
    lambda shape: hnp.arrays(np.float32, shape, elements=st.sampled_from([-1.0, 0.0, 0.25, 0.5, 1]))
)


def frame(similar: Matrix) -> pl.DataFrame:
    ids = [f"r{(5 * i) % 17:02}" for i in range(len(similar))]
    return pl.DataFrame(
        {
            "row_id": ids,
            "score": similar.max(axis=1),
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, similar.shape[1])),
        }
    )


@given(MATRICES)
def test_global_max_and_mean_sort_by_value_and_then_by_id(similar: Matrix) -> None:
    table = frame(similar)
    ids = table["row_id"].to_list()
    for combine, value in (("global_max", similar.max(axis=1)), ("mean", similar.mean(axis=1))):
        in_order = sorted(zip(-value, ids, strict=True))
        assert rank_frame(table, "embed", combine=combine) == [row_id for _, row_id in in_order]


@given(MATRICES)
def test_round_robin_is_that_of_rds_on_rows_sorted_by_id(similar: Matrix) -> None:
    table = frame(similar)
    by_id = table.sort("row_id")
    voters = by_id["similarities"].to_numpy().T
    near = voters.any(axis=1)
    order = round_robin(map(best_first, voters[near] if near.any() else voters), by_id.height)
    assert rank_frame(table, "embed") == by_id["row_id"].gather(order).to_list()


@pytest.mark.parametrize("combine", COMBINE)
@given(similar=MATRICES, mix=st.randoms(use_true_random=False))
def test_the_order_of_the_table_changes_no_rank(
    combine: str, similar: Matrix, mix: random.Random
) -> None:
    table = frame(similar)
    mixed = table[mix.sample(range(table.height), table.height)]
    assert rank_frame(mixed, "embed", combine=combine) == rank_frame(
        table, "embed", seed=5, combine=combine
    )


def test_the_mean_is_the_cosine_to_the_centre_but_for_a_factor(store: Store) -> None:
    vectors, targets = unit_vectors((30, 6), 2), unit_vectors((5, 6), 3)
    table = scores(embedded(store, vectors, targets)).result
    order = np.argsort(-(vectors.astype(float) @ targets.astype(float).sum(axis=0)))
    ranked_ids = rank_frame(table, "embed", combine="mean")
    assert ranked_ids == [f"r{i:03}" for i in order]


def test_an_easy_example_takes_all_by_the_maximum_but_not_by_turns() -> None:
    easy = np.linspace(0.99, 0.9, 8)
    similar = np.stack([np.r_[easy, np.zeros(8)], np.r_[np.zeros(8), easy - 0.5]], axis=1)
    table = frame(similar.astype(np.float32))
    first = set(table["row_id"].to_list()[:8])
    assert set(rank_frame(table, "embed", combine="global_max")[:8]) == first
    assert len(first & set(rank_frame(table, "embed")[:8])) == 4


def test_equal_texts_are_equally_similar_and_rank_by_id(store: Store) -> None:
    pool = {f"r{(7 * i) % 40:02}": f"Row number {i % 4}" for i in range(40)}
    run = target_run(store, pool, ["Row 1", "Row number 3"])
    table = scores_of(run, "embed").with_columns(text=pl.Series(pool.values()))
    assert table.group_by("text").agg(pl.col("score").n_unique())["score"].to_list() == [1] * 4
    ranked_ids = ranked(run, "embed", combine="global_max")
    for number in range(4):
        same = [i for i in ranked_ids if pool[i] == f"Row number {number}"]
        assert same == sorted(same)


def test_a_vector_that_is_not_finite_stops_the_run(store: Store) -> None:
    vectors = unit_vectors((5, 3), 0)
    vectors[2, 1] = np.nan
    with pytest.raises(UserError, match="no finite number"):
        scores(embedded(store, vectors, unit_vectors((2, 3), 1)))


def test_a_row_without_a_vector_has_no_score(store: Store) -> None:
    vectors = np.r_[unit_vectors((3, 4), 0), np.zeros((1, 4), dtype=np.float32)]
    table = scores(embedded(store, vectors, unit_vectors((2, 4), 1))).result
    assert table["score"].is_null().to_list() == [False] * 3 + [True]
    assert table["reason"].to_list() == [None] * 3 + ["nothing in it is known to the embedder"]
    blank = embedded(store, vectors[:3], np.zeros((2, 4), dtype=np.float32))
    assert scores(blank).result["score"].null_count() == 3


def test_only_what_changed_is_embedded_anew(store: Store) -> None:
    run = target_run(store, POOL, ["Please book a table"])
    ranked(run, "embed")
    assert sorted(run.executed_steps) == ["embed", "embed", "score-embed"]
    run.executed_steps.clear()
    ranked(run, "embed", combine="mean", budget={"fraction": 0.5})
    assert run.executed_steps == []
    changed = target_run(store, POOL, ["Please book a room"])
    ranked(changed, "embed")
    assert sorted(changed.executed_steps) == ["embed", "score-embed"]


def test_it_needs_a_target(store: Store) -> None:
    run = target_run(store, POOL, ["x"])
    run.target = None
    with pytest.raises(UserError, match="needs target examples"):
        scores_of(run, "embed")


def test_the_bundled_family_is_found(store: Store) -> None:
    """9.3 % of the pool, then 5 %."""
    run, fewer = bundled_run(store), bundled_run(store, 70)
    for combine in COMBINE:
        assert precision(ranked(run, "embed", combine=combine)[:60]) >= 0.8
        assert precision(ranked(fewer, "embed", combine=combine)[:60]) >= 0.6
