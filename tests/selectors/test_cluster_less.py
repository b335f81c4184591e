"""Clustered LESS: means of LESS's own similarities over drawn rows, and one warm-up in a cascade."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from curate.core.store import Store
from curate.selectors.cluster_less import NO_GRADIENT, cluster_means, draw
from tests.conftest import stored_table, turns
from tests.selectors.lossruns import ModelRun, ranked, scored, selector_of

WARMUP: Any = {"epochs": 1, "rank": 2, "alpha": 8, "learning_rate": 1e-3, "batch_rows": 8}
LESS: Any = {"warmup": WARMUP, "max_length": 96}
SETTINGS: Any = {**LESS, "cluster_rows": 6, "drawn_rows": 2, "embedder": "static"}
POOL = [turns(f"What is {i} plus one?", f"It is {i + 1}.") for i in range(12)]
POOL += [turns(f"Name animal {i}", "Owls, cats and dogs.") for i in range(12)]


@pytest.fixture
def run(store: Store, tiny: Path) -> ModelRun:
    return ModelRun(store, folder=tiny, texts=POOL, targets=POOL[:3])


def test_rows_have_the_mean_of_the_drawn_rows_of_their_cluster(run: ModelRun) -> None:
    table = scored(run, "cluster_less", **SETTINGS)
    similar = np.array(scored(run, "less", **LESS)["similarities"].to_list())
    assert run.executed_steps.count("less-warmup") == 1
    assert table["cluster"].n_unique() == 4
    values = np.array(table["similarities"].to_list())
    for rows in table.with_row_index("row").partition_by("cluster"):
        own = rows["row"].to_numpy()
        pairs = [(i, j) for i in own for j in own if i < j] if len(own) > 1 else [(own[0],) * 2]
        means = [similar[[i, j]].mean(axis=0) for i, j in pairs]
        assert min(np.abs(values[own] - mean).max() for mean in means) < 1e-5


def test_in_a_cascade_less_goes_on_with_the_warm_up(run: ModelRun) -> None:
    parts = [{"method": "cluster_less", "keep": 0.25, **SETTINGS}, {"method": "less", **LESS}]
    table = scored(run, "cascade", parts=parts)
    assert run.executed_steps.count("less-warmup") == 1
    assert run.executed_steps.count("less-target") == 1
    left = table.filter(pl.col("part") == 1)
    assert left.height == 6
    own = scored(run, "less", **LESS).filter(pl.col("row_id").is_in(left["row_id"].implode()))
    np.testing.assert_allclose(left["score"].to_numpy(), own["score"].to_numpy(), atol=1e-5)


def test_another_warm_up_is_not_taken_over(run: ModelRun) -> None:
    first = selector_of("cluster_less", **SETTINGS)
    assert selector_of("less", **LESS).takes_over(first)
    assert not selector_of("less", **LESS | {"max_length": 50}).takes_over(first)
    assert not selector_of("less", warmup={**WARMUP, "epochs": 2}, max_length=96).takes_over(first)
    assert not selector_of("rds").takes_over(first)


def test_a_draw_has_so_many_rows_of_each_cluster_wherever_they_stand(store: Store) -> None:
    ids = [f"r{i}" for i in range(9)]
    kept = pl.DataFrame({"row_id": ids, "position": range(9)})
    clusters = pl.DataFrame(
        {"row_id": ids, "score": [None, *[1.0] * 8], "cluster": [0, 0, 0, 0, 1, 1, 1, 1, 2]}
    )

    def drawn(order: list[int]) -> set[str]:
        tables = [
            stored_table(store, f"{order}{k}", t[order]) for k, t in enumerate((kept, clusters))
        ]
        result = draw.function(*tables, 2, 0)
        assert result["position"].is_sorted() or order != sorted(order)
        return set(result["row_id"])

    one = drawn(list(range(9)))
    assert drawn(list(range(8, -1, -1))) == one
    assert "r0" not in one
    assert len(one) == 5
    assert "r8" in one


def test_means_of_clusters() -> None:
    values = np.array([[1.0, 3.0], [2.0, 4.0], [5.0, 6.0]])
    means = cluster_means(values, np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(means, [[1.5, 3.5], [np.nan, np.nan], [5, 6]])


def test_a_cluster_without_a_gradient_comes_last_with_a_reason(store: Store, tiny: Path) -> None:
    texts = [*POOL[:12], *(turns(f"Tell me {i} " + "why? " * 40, "aeiou") for i in range(6))]
    run = ModelRun(store, folder=tiny, texts=texts, targets=POOL[:3])
    table = scored(run, "cluster_less", **SETTINGS | {"cluster_rows": 9})
    assert table["reason"].to_list() == [None] * 12 + [NO_GRADIENT] * 6
    assert set(ranked(table, "cluster_less")[-6:]) == {f"r{i:03}" for i in range(12, 18)}


def test_without_any_gradient_no_row_has_a_score(store: Store, tiny: Path) -> None:
    texts = [*POOL[:2], *(turns(f"Tell me {i} " + "why? " * 40, "aeiou") for i in range(6))]
    run = ModelRun(store, folder=tiny, texts=texts, targets=POOL[:3])
    settings = SETTINGS | {"cluster_rows": 9, "drawn_rows": 1}
    for seed in range(3):
        run.seed = seed
        table = scored(run, "cluster_less", **settings)
        if table["reason"].null_count() == 0:
            break
    assert table["reason"].to_list() == [NO_GRADIENT] * 8


def test_densities_that_it_does_not_have_are_refused() -> None:
    with pytest.raises(ValidationError, match="knn_kde needs the vectors of all rows"):
        selector_of("cluster_less", combine="knn_kde")


def test_no_more_gradients_are_priced_than_there_are_rows() -> None:
    every = selector_of("cluster_less", cluster_rows=2, drawn_rows=9)
    assert every.cost(100).read_rows == selector_of("less").cost(100).read_rows
