"""Orders of rows from similarities: each against a loop or a solver of its own."""

from __future__ import annotations

from typing import Any, get_args

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from numpy.typing import NDArray
from scipy.stats import spearmanr

from curate.core.errors import UserError
from curate.selectors import combine as combine_module
from curate.selectors.combine import (
    Combine,
    nearest_counts,
    neighbourhood,
    rank_similarities,
    softmax_mass,
    subtask_max,
)

Matrix = NDArray[np.float32]
COMBINES: tuple[Combine, ...] = get_args(Combine)
VALUES = st.floats(-1, 1, width=16)
MATRICES = arrays.arrays(
    np.float32, st.tuples(st.integers(2, 12), st.integers(1, 4)), elements=VALUES
)


def table(similar: Matrix, tasks: list[int] | None = None) -> pl.DataFrame:
    """Return scores as selectors store them; rows are r00, r01 ..."""
    rows, examples = similar.shape
    frame = pl.DataFrame(
        {
            "row_id": [f"r{i:02}" for i in range(rows)],
            "similarities": pl.Series(similar, dtype=pl.Array(pl.Float32, examples)),
            "density": pl.Series([1.0] * rows, dtype=pl.Float32),
        }
    )
    if tasks is None:
        return frame
    return frame.with_columns(tasks=pl.lit(tasks, dtype=pl.Array(pl.Int16, examples)))


def ordered_ids(scores: pl.DataFrame, combine: Combine, **settings: Any) -> list[str]:
    return scores["row_id"].gather(rank_similarities(scores, combine, **settings)).to_list()


def random_similarities(rows: int, examples: int, seed: int = 0) -> Matrix:
    return np.random.default_rng(seed).uniform(-1, 1, (rows, examples)).astype(np.float32)


@given(similar=MATRICES, combine=st.sampled_from(COMBINES), seed=st.integers(0, 99))
def test_every_order_has_each_row_once_wherever_it_stands(
    similar: Matrix, combine: Combine, seed: int
) -> None:
    scores = table(similar)
    ids = ordered_ids(scores, combine)
    assert sorted(ids) == scores["row_id"].to_list()
    assert ordered_ids(scores.sample(fraction=1, shuffle=True, seed=seed), combine) == ids


@pytest.mark.parametrize("combine", COMBINES)
def test_equal_rows_go_by_their_ids(combine: Combine) -> None:
    ids = ordered_ids(table(np.full((5, 2), 0.5, dtype=np.float32)), combine)
    assert ids == [f"r{i:02}" for i in range(5)]


def test_the_mass_of_the_worked_example() -> None:
    similar = np.array([[0.9], [0.9], [0.1]], dtype=np.float32)
    weights = np.exp([0, 0, -2])
    assert softmax_mass(similar, 0.4) == pytest.approx(weights / weights.sum(), abs=1e-6)


def test_softmax_is_unbalanced_transport_with_free_rows() -> None:
    """Sinkhorn's iteration, marginals of the examples kept and those of the rows hardly weighed."""
    similar = random_similarities(60, 5).astype(np.float64)
    entropic, row_weight = 0.05, 1e-4
    kernel = np.exp(-((1 - similar) / 2) / entropic)
    rows, examples = np.full(60, 1 / 60), np.full(5, 1 / 5)
    scale_of_rows, scale_of_examples = np.ones(60), np.ones(5)
    for _ in range(500):
        free = row_weight / (row_weight + entropic)
        scale_of_rows = (rows / (kernel @ scale_of_examples)) ** free
        scale_of_examples = examples / (kernel.T @ scale_of_rows)
    plan = scale_of_rows[:, None] * kernel * scale_of_examples
    mass = softmax_mass(similar.astype(np.float32), 2 * entropic)
    assert spearmanr(plan.sum(axis=1), mass).statistic > 0.999
    assert mass.sum() == pytest.approx(5)


def test_a_cold_softmax_takes_the_best_row_of_each_example_first() -> None:
    similar = random_similarities(40, 4)
    best = {f"r{i:02}" for i in similar.argmax(axis=0)}
    ids = ordered_ids(table(similar), "softmax", temperature=1e-4)
    assert set(ids[: len(best)]) == best


def test_a_hot_softmax_is_the_mean() -> None:
    scores = table(random_similarities(40, 4))
    assert ordered_ids(scores, "softmax", temperature=1e4) == ordered_ids(scores, "mean")


def test_an_example_that_stands_twice_has_two_votes() -> None:
    similar = random_similarities(30, 2)
    twice = softmax_mass(similar[:, [0, 0, 1]], 0.1)
    one, other = (softmax_mass(similar[:, [q]], 0.1) for q in (0, 1))
    assert twice == pytest.approx(2 * one + other)


@given(similar=MATRICES, scale=st.sampled_from([1e-4, 1e-3, 5.0]))
def test_a_neighbourhood_grows_as_the_loop_of_the_paper_does(similar: Matrix, scale: float) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(combine_module, "DIVERSITY_SCALE", scale)
        assert neighbourhood(similar) == looped_neighbourhood(similar, scale)


def looped_neighbourhood(similar: Matrix, scale: float) -> int:
    """Return K, one more at a time."""
    rows, examples = similar.shape
    distances = [sorted(1 - float(s) for s in column) for column in similar.T]
    size = 1
    while size < rows - 1:
        cost = sum(d[size] - d[k] for d in distances for k in range(size))
        if not 0.01 / scale * cost < 0.99 * examples:
            break
        size += 1
    return size


def test_rows_near_to_as_many_examples_go_by_similarity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(combine_module, "MOST_NEIGHBOURS", 2)
    similar = np.array([[0.1, 0.9], [0.8, 0.2], [0.7, 0.8], [0.2, 0.1]], dtype=np.float32)
    assert neighbourhood(similar) == 2
    # The first example is near to r01 and r02, the second to r00 and r02.
    assert nearest_counts(similar).tolist() == [1, 1, 2, 0]
    assert ordered_ids(table(similar), "knn_uniform") == ["r02", "r00", "r01", "r03"]


def test_the_best_task_decides_by_its_mean() -> None:
    similar = np.array([[0.9, 0.1, 0.4], [0.25, 0.25, 0.75], [0.5, 0.75, 0.0]], dtype=np.float32)
    assert subtask_max(similar, np.array([0, 0, 1])) == pytest.approx([0.5, 0.75, 0.625])
    assert ordered_ids(table(similar, [0, 0, 1]), "subtask_max") == ["r01", "r02", "r00"]


@pytest.mark.parametrize("combine", ["softmax", "knn_uniform", "knn_kde", "mean", "global_max"])
def test_tasks_take_turns(combine: Combine) -> None:
    """The second task's similarities are all smaller, and it has every other row nevertheless."""
    similar = np.zeros((8, 2), dtype=np.float32)
    similar[:4, 0] = [0.9, 0.8, 0.7, 0.6]
    similar[4:, 1] = [0.09, 0.08, 0.07, 0.06]
    ids = ordered_ids(table(similar, [0, 1]), combine)
    assert [int(name[1:]) < 4 for name in ids[:4]] == [True, False, True, False]


def test_without_a_density_there_is_no_order_by_it() -> None:
    scores = table(random_similarities(6, 2))
    with pytest.raises(UserError, match="knn_kde needs how densely rows lie"):
        rank_similarities(scores.drop("density"), "knn_kde")
