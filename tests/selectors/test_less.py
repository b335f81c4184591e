"""LESS as a selector: the formula from end to end, subtasks, rows without a score, keys."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from curate.core.errors import UserError
from curate.core.rows import Message
from curate.core.store import Store
from curate.models import influence
from curate.selectors.less import UNSCORED, LessSelector, nearest
from curate.selectors.similarities import task_numbers
from tests.conftest import row, stored_rows, stored_table, turns
from tests.selectors.lossruns import ModelRun, ranked, scored

WARMUP = {"epochs": 2, "rank": 4, "alpha": 16, "learning_rate": 5e-3, "batch_rows": 8}
SETTINGS: dict[str, Any] = {"max_length": 96, "warmup": WARMUP}


def digits(rng: random.Random) -> list[Message]:
    """Return a row of the target skill: digits told backwards."""
    text = "".join(rng.choice("0123456789") for _ in range(8))
    return turns(f"Turn {text}", " ".join(text[::-1]))


def chatter(rng: random.Random) -> list[Message]:
    words = [
        "river",
        "cloud",
        "stone",
        "tree",
        "lamp",
        "chair",
        "window",
        "garden",
        "music",
        "paper",
    ]
    word_list = " ".join(rng.sample(words, 4))
    return turns(
        f"Say {word_list}", rng.choice(["I like the ", "Here is a ", "Well, "]) + word_list.upper()
    )


RNG = random.Random(0)
POOL = [digits(RNG) if i % 20 == 7 else chatter(RNG) for i in range(60)]
PLANTED = {f"r{i:03}" for i in range(60) if i % 20 == 7}
TARGET = [digits(RNG) for _ in range(5)]
TOO_LONG = turns("word " * 30, "cut off")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A store for tests that do not ask which steps did work."""
    return Store(tmp_path_factory.mktemp("less"))


@pytest.fixture
def run(shared: Store, tiny: Path) -> ModelRun:
    return ModelRun(shared, folder=tiny, texts=[*POOL, TOO_LONG], targets=TARGET)


@pytest.fixture
def fresh(store: Store, tiny: Path) -> ModelRun:
    return ModelRun(store, folder=tiny, texts=[*POOL, TOO_LONG], targets=TARGET)


@pytest.mark.parametrize("settings", [{}, {"eps_mode": "adamw"}, {"way": "datastore", "dim": 2048}])
def test_planted_rows_of_the_wanted_skill_come_first(
    run: ModelRun, settings: dict[str, Any]
) -> None:
    """5 % of the pool is of the target's kind, and is found in each way."""
    table = scored(run, "less", **SETTINGS, **settings)
    assert set(ranked(table, "less")[:3]) == PLANTED


@pytest.mark.parametrize("combine", ["round_robin", "global_max", "mean", "softmax", "knn_uniform"])
def test_every_order_of_the_similarities_finds_them(run: ModelRun, combine: str) -> None:
    table = scored(run, "less", **SETTINGS).drop_nulls("score")
    assert set(ranked(table, "less", combine=combine)[:3]) == PLANTED


@pytest.mark.parametrize("way", [{}, {"way": "datastore", "dim": 2048}])
def test_they_are_near_in_the_main_directions_of_the_target_too(
    run: ModelRun, way: dict[str, Any]
) -> None:
    plain = {"eps_mode": "sgd", "subspace": 2, **way}
    assert set(ranked(scored(run, "less", **SETTINGS, **plain), "less")[:3]) == PLANTED


def test_a_subspace_has_no_more_directions_than_examples(run: ModelRun) -> None:
    with pytest.raises(UserError, match="5 target examples have 5 directions at most, not 6"):
        scored(run, "less", **SETTINGS, subspace=6)


def test_an_order_needs_the_examples_apart(run: ModelRun) -> None:
    table = scored(run, "less", **SETTINGS).drop("similarities")
    assert ranked(table, "less")[:3]
    with pytest.raises(UserError, match=r"combine: mean needs the similarity to each target"):
        ranked(table, "less", combine="mean")


def test_both_ways_give_one_result(run: ModelRun) -> None:
    exact = scored(run, "less", **SETTINGS)
    store = scored(run, "less", **SETTINGS, way="datastore", dim=2**16)
    assert exact.schema == store.drop("density").schema
    assert exact["row_id"].equals(store["row_id"])
    one, two = (table.drop_nulls("score")["score"].to_numpy() for table in (exact, store))
    assert np.abs(one - two).max() < 0.01
    assert spearmanr(one, two).statistic > 0.97


def test_the_table_says_all_of_every_kept_row(run: ModelRun) -> None:
    table = scored(run, "less", **SETTINGS)
    assert table["row_id"].to_list() == [f"r{i:03}" for i in range(61)]
    *rows, last = table.iter_rows(named=True)
    for line in rows:
        assert line["reason"] is None
        assert line["score"] == pytest.approx(np.mean(line["similarities"]), abs=1e-5)
        assert line["nearest_id"] == f"t{int(np.argmax(line['similarities']))}"
        assert -1 <= line["score"] <= 1
    assert last["score"] is last["nearest_id"] is None
    assert last["reason"] == UNSCORED
    assert np.isnan(last["similarities"]).all()


def test_rows_without_a_response_are_counted_and_rank_last(run: ModelRun) -> None:
    selector = LessSelector.model_validate({"budget": {"rows": 1}, **SETTINGS})
    scores = selector.score_rows(run)
    assert scores.artifact.counts["unscored"] == 1
    assert 0 < scores.artifact.counts["adaptive_share"] < 1
    assert ranked(scores.read(), "less")[-1] == "r060"


@pytest.mark.system
def test_the_order_of_the_pool_changes_no_rank(run: ModelRun, store: Store, tiny: Path) -> None:
    order = ranked(scored(run, "less", **SETTINGS), "less")
    texts = run.texts[::-1]
    other = ModelRun(store, folder=tiny, texts=texts, targets=TARGET)
    named = {f"r{60 - i:03}": f"r{i:03}" for i in range(61)}
    rows = [row(named[f"r{i:03}"], t) for i, t in enumerate(texts)]
    other.rows = stored_rows(store, "pool", rows)
    kept = pl.DataFrame({"row_id": [r["row_id"] for r in rows], "position": range(61)})
    other.kept = stored_table(store, "kept", kept)
    again = ranked(scored(other, "less", **SETTINGS), "less")
    assert again == order


# --- subtasks -------------------------------------------------------------------------------------


def with_origins(run: ModelRun, origins: list[str | None]) -> ModelRun:
    rows = [row(f"t{i}", t, origin=o) for i, (t, o) in enumerate(zip(TARGET, origins, strict=True))]
    run.target = stored_rows(run.store, "target", rows)
    return run


def test_a_score_is_the_largest_mean_of_a_subtask_whatever_their_sizes(run: ModelRun) -> None:
    table = scored(with_origins(run, ["b", "a", "b", "b", None]), "less", **SETTINGS)
    for line in table.drop_nulls("score").iter_rows(named=True):
        similar = np.array(line["similarities"])
        means = {"a": similar[1], "b": similar[[0, 2, 3]].mean(), None: similar[4]}
        assert line["score"] == pytest.approx(max(means.values()), abs=1e-5)
        best = max(means, key=lambda name: means[name])
        inside = {"a": [1], "b": [0, 2, 3], None: [4]}[best]
        assert line["nearest_id"] == f"t{max(inside, key=lambda q: similar[q])}"


def test_targets_too_large_to_keep_apart_give_the_same_scores(
    run: ModelRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = with_origins(run, ["b", "a", "b", "b", None])
    apart = scored(run, "less", **SETTINGS)
    monkeypatch.setattr(influence, "COLUMN_BYTES", 0)
    monkeypatch.setattr(influence.write_target_gradients, "version", 99)
    means = scored(run, "less", **SETTINGS)
    np.testing.assert_allclose(means["score"].to_numpy(), apart["score"].to_numpy(), atol=1e-5)
    assert "similarities" not in means.columns
    assert means["nearest_id"].null_count() == means.height
    assert means["reason"].equals(apart["reason"])


def test_rows_without_an_origin_are_one_subtask() -> None:
    assert task_numbers(pl.Series([None, None], dtype=pl.String)) == [0, 0]
    assert task_numbers(pl.Series(["b", None, "a", "b"])) == [0, 1, 2, 0]
    assert task_numbers(pl.Series(["b", "a", "b"])) == [0, 1, 0]


def test_the_nearest_example_is_of_the_best_subtask_even_if_another_is_more_similar() -> None:
    """Subtask 0 has the one most similar example, subtask 1 the better mean."""
    similarities = np.array([[0.9, 0.0, 0.5, 0.6]], dtype=np.float32)
    subtasks = np.array([0, 0, 1, 1])
    means = np.array([[0.45, 0.55]], dtype=np.float32)
    assert nearest(similarities, means, subtasks).tolist() == [3]


# --- ranks ----------------------------------------------------------------------------------------

VALUES = st.lists(st.sampled_from([-0.5, 0.0, 0.25, 0.5, None]), min_size=1, max_size=20)


@given(VALUES, st.randoms(use_true_random=False))
def test_rank_sorts_by_score_then_id_with_unscored_rows_last(
    values: list[float | None], rng: random.Random
) -> None:
    ids = [f"r{i:02}" for i in rng.sample(range(40), len(values))]
    table = pl.DataFrame({"row_id": ids, "score": values}, schema_overrides={"score": pl.Float32})
    order = LessSelector.model_validate({"budget": {"rows": 1}}).rank(table, 7)
    assert order.dtype == np.int64
    expected = sorted(
        range(len(ids)),
        key=lambda i: (values[i] is None, -(values[i] or 0.0), ids[i]),
    )
    assert order.tolist() == expected


# --- keys and unhappy inputs ----------------------------------------------------------------------


@pytest.mark.system
def test_a_budget_or_another_projection_costs_no_gradient(fresh: ModelRun) -> None:
    scored(fresh, "less", **SETTINGS)
    step_names = list(fresh.executed_steps)
    assert step_names == ["less-warmup", "less-target", "less-similarity", "score-less"]
    scored(fresh, "less", **SETTINGS, budget={"tokens": 9}, dim=64, precision="int8")
    assert fresh.executed_steps == step_names


@pytest.mark.system
def test_a_datastore_serves_another_target(fresh: ModelRun, tiny: Path) -> None:
    scored(fresh, "less", **SETTINGS, way="datastore", dim=256)
    other = ModelRun(fresh.store, folder=tiny, texts=fresh.texts, targets=TARGET[:2])
    table = scored(other, "less", **SETTINGS, way="datastore", dim=256)
    assert other.executed_steps == ["less-features", "score-less"]
    assert table["similarities"].dtype == pl.Array(pl.Float32, 2)


@pytest.mark.system
def test_blocks_are_independent_of_each_other(
    fresh: ModelRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scored(fresh, "less", **SETTINGS)
    monkeypatch.setattr("curate.models.blocks.SMALLEST_BLOCK", 16)
    parts = scored(fresh, "less", **SETTINGS)
    assert fresh.executed_steps.count("less-similarity") == 1 + 4
    np.testing.assert_allclose(
        whole["score"].drop_nulls().to_numpy(), parts["score"].drop_nulls().to_numpy(), atol=1e-5
    )


def test_a_pool_without_any_response_within_the_limit_is_refused(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=[TOO_LONG] * 3, targets=TARGET)
    with pytest.raises(UserError, match=r"raise select\.max_length"):
        scored(run, "less", **SETTINGS)


def test_without_target_examples_there_is_nothing_to_score(store: Store, tiny: Path) -> None:
    run = ModelRun(store, folder=tiny, texts=POOL)
    with pytest.raises(UserError, match="needs target examples"):
        scored(run, "less", **SETTINGS)


@pytest.mark.parametrize(
    "settings",
    [
        {"combine": "knn_kde"},
        {"way": "fast"},
        {"eps_mode": "adam"},
        {"dim": 0},
        {"warmup": {"targets": []}},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        LessSelector.model_validate({"budget": {"rows": 1}, **settings})
